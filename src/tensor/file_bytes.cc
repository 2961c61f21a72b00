#include "tensor/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace restkv {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

Error system_error(const std::string& path, const std::string& what) {
  const int code = errno;
  const ErrorCode kind = code == ENOENT || code == ENOTDIR ? ErrorCode::kNotFound
                         : code == ENOMEM                  ? ErrorCode::kOutOfMemory
                                                           : ErrorCode::kIo;
  return {kind, path + ": cannot " + what + " (" + std::generic_category().message(code) + ")"};
}

Result<void> read_all(const Descriptor& file, const std::string& path, std::span<std::byte> out) {
  constexpr std::size_t kMostAtOnce = std::size_t{1}
                                      << 30;  // the kernel's limit is just below 2 GiB
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::read(file.number(), out.data() + done, std::min(out.size() - done, kMostAtOnce));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path, "read the file");
    if (got == 0) {
      return Error{ErrorCode::kIo, path + ": the file became shorter while it was read (at byte " +
                                       std::to_string(done) + ")"};
    }
    done += static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace

Result<FileBytes> FileBytes::open(const std::string& path, GgufOpenOptions::Access access) {
  // O_NONBLOCK: the name of a pipe must not make us wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return system_error(path, "open the file");
  struct stat status{};
  if (::fstat(file.number(), &status) != 0) return system_error(path, "look at the file");
  if (!S_ISREG(status.st_mode)) {
    return Error{ErrorCode::kIo, path + ": not a regular file"};
  }

  FileBytes result;
  result.size_ = static_cast<std::size_t>(status.st_size);
  if (result.size_ == 0) return result;
  if (access == GgufOpenOptions::Access::kRead) {
    try {
      result.copy_ = AlignedArray<std::byte>(result.size_);
    } catch (const std::bad_alloc&) {
      return Error{ErrorCode::kOutOfMemory, path + ": no memory for a copy of the file (" +
                                                std::to_string(result.size_) + " bytes)"};
    }
    RESTKV_TRY(read_all(file, path, result.copy_.span()));
    result.data_ = result.copy_.data();
    return result;
  }
  void* mapping =
      ::mmap(nullptr, result.size_, PROT_READ, MAP_PRIVATE, file.number(), /*offset=*/0);
  if (mapping == MAP_FAILED) return system_error(path, "map the file");
  ::madvise(mapping, result.size_, MADV_WILLNEED);  // advice only: its failure changes nothing
  result.data_ = static_cast<const std::byte*>(mapping);
  return result;
}

void FileBytes::give_back(std::span<const std::byte> part) const {
  if (copy_.size() == 0) drop_pages(part);
}

FileBytes::FileBytes(FileBytes&& other) noexcept { *this = std::move(other); }

FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
  std::swap(copy_, other.copy_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FileBytes::~FileBytes() {
  if (data_ != nullptr && copy_.size() == 0) {
    ::munmap(const_cast<std::byte*>(data_), size_);  // NOLINT(*-const-cast): munmap's signature
  }
}

}  // namespace restkv
