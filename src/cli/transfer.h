#pragma once

// What both ways to bring a file share: whom to tell, when to stop, and where the bytes go.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "restkv/result.h"

namespace restkv {

class Progress;

struct TransferWatch {
  Progress* progress = nullptr;               // may be null
  const std::atomic<bool>* cancel = nullptr;  // true asks to stop; may be null

  [[nodiscard]] bool cancelled() const {
    return cancel != nullptr && cancel->load(std::memory_order_relaxed);
  }
  void tell(std::uint64_t done) const;
  void note(const std::string& line) const;
};

// Bytes of the file; 0 when there is none.
std::uint64_t size_or_zero(const std::filesystem::path& path);

// A file that is written from some offset to its end. Move only; closed by its destructor.
class OutputFile {
 public:
  // Opens or creates the file and cuts it at `offset`. kIo.
  static Result<OutputFile> open_at(const std::filesystem::path& path, std::uint64_t offset);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) = delete;
  ~OutputFile();

  // kIo; a full disk is named as such. What was written before a failure stays.
  Result<void> write(std::span<const std::byte> bytes);
  // Waits until the bytes are on the disk. kIo.
  Result<void> sync();

 private:
  OutputFile(int descriptor, std::filesystem::path path);
  int descriptor_;
  std::filesystem::path path_;
};

// SHA-256 of the file in lower-case hexadecimal; tells its progress. kIo, kCancelled.
Result<std::string> sha256_of_file(const std::filesystem::path& path, const TransferWatch& watch);

}  // namespace restkv
