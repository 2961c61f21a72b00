#include "cli/transfer.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/progress.h"

namespace restkv {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

Error file_error(const std::filesystem::path& path, int code) {
  if (code == ENOSPC || code == EDQUOT) {
    return {ErrorCode::kIo, path.string() + ": the disk is full"};
  }
  return {ErrorCode::kIo, path.string() + ": " + std::generic_category().message(code)};
}

std::string hexadecimal(std::span<const unsigned char> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

}  // namespace

void TransferWatch::tell(std::uint64_t done) const {
  if (progress != nullptr) {
    progress->update(done);
  }
}

void TransferWatch::note(const std::string& line) const {
  if (progress != nullptr) {
    progress->note(line);
  }
}

std::uint64_t size_or_zero(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

Result<OutputFile> OutputFile::open_at(const std::filesystem::path& path, std::uint64_t offset) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return file_error(path, errno);
  }
  OutputFile file(descriptor, path);
  struct stat status{};
  const auto end = static_cast<off_t>(offset);
  const bool placed = fstat(descriptor, &status) == 0 &&
                      (status.st_size == end || ftruncate(descriptor, end) == 0) &&
                      lseek(descriptor, end, SEEK_SET) == end;
  if (!placed) {
    return file_error(path, errno);
  }
  return file;
}

OutputFile::OutputFile(int descriptor, std::filesystem::path path)
    : descriptor_(descriptor), path_(std::move(path)) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
}

Result<void> OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return file_error(path_, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> OutputFile::sync() {
  if (fsync(descriptor_) != 0) {
    return file_error(path_, errno);
  }
  return {};
}

Result<std::string> sha256_of_file(const std::filesystem::path& path, const TransferWatch& watch) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (file == nullptr) {
    return file_error(path, errno);
  }
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return Error{ErrorCode::kInternal, "SHA-256 is not available"};
  }
  std::vector<std::byte> buffer(kReadBytes);
  std::uint64_t done = 0;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    if (watch.cancelled()) {
      return Error{ErrorCode::kCancelled, "stopped while checking " + path.string()};
    }
    EVP_DigestUpdate(context.get(), buffer.data(), n);
    done += n;
    watch.tell(done);
  }
  if (std::ferror(file.get()) != 0) {
    return file_error(path, errno);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &length);
  return hexadecimal(std::span(digest).first(length));
}

}  // namespace restkv
