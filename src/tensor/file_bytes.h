#pragma once

// The bytes of a whole file, mapped or copied.

#include <cstddef>
#include <span>
#include <string>

#include "base/aligned.h"
#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

// Move only. A mapped file that another process shortens makes later reads fail with a signal, as
// with every mapping; GgufOpenOptions::Access::kRead has a copy of its own.
class FileBytes {
 public:
  // kNotFound, kIo (a folder, a device, a failed read), kOutOfMemory. Page-aligned when mapped,
  // else aligned to kAlignment.
  static Result<FileBytes> open(const std::string& path, GgufOpenOptions::Access access);

  FileBytes(FileBytes&& other) noexcept;
  FileBytes& operator=(FileBytes&& other) noexcept;
  ~FileBytes();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  // See GgufFile::give_back(). Whole pages inside `part` only.
  void give_back(std::span<const std::byte> part) const;

 private:
  FileBytes() = default;

  AlignedArray<std::byte> copy_;     // empty when mapped
  const std::byte* data_ = nullptr;  // the mapping or the copy
  std::size_t size_ = 0;
};

}  // namespace restkv
