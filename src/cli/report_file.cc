#include "cli/report_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace restkv {
namespace {

// What is no ordinary file (a pipe, /dev/stdout) is written where it is.
bool is_special(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown) && !std::filesystem::is_regular_file(path, unknown);
}
std::string part_of(const std::string& path) { return path + ".part"; }

}  // namespace

Result<ReportData> read_rows(const std::string& database) {
  RESTKV_ASSIGN(const ResultStore store, ResultStore::open(database));
  ReportData data;
  data.title = "Results of " + std::filesystem::path(database).filename().string();
  RESTKV_ASSIGN(data.rows, store.rows());
  if (data.rows.empty()) {
    return Error{ErrorCode::kNotFound, database + ": holds no results yet"};
  }
  name_models(data.rows);
  RESTKV_ASSIGN(data.prompts, store.prompts());
  return data;
}

Result<ReportData> read_report(const std::string& database, const ResamplingOptions& options) {
  RESTKV_ASSIGN(ReportData data, read_rows(database));
  RESTKV_ASSIGN(data.summary, summarise(data.rows, options));
  return data;
}

Result<void> check_text_file(const std::string& path) {
  const auto failed = [&path](int reason) {
    return Error{ErrorCode::kIo, path + ": " + std::strerror(reason == 0 ? EIO : reason)};
  };
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) return failed(EISDIR);
  errno = 0;
  if (is_special(path)) {
    // A pipe is not opened: that would wait for who reads it.
    if (::access(path.c_str(), W_OK) != 0) return failed(errno);
    return {};
  }
  const std::string part = part_of(path);
  const bool was_there = std::filesystem::exists(part, unknown);
  errno = 0;
  if (!std::ofstream(part, std::ios::binary | std::ios::app)) return failed(errno);
  if (!was_there) std::filesystem::remove(part, unknown);
  return {};
}

Result<void> write_text_file(const std::string& path, std::string_view text) {
  const bool special = is_special(path);
  const std::string part = special ? path : part_of(path);
  errno = 0;
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  const int reason_number = errno == 0 ? EIO : errno;
  std::error_code failed;
  if (file && !special) std::filesystem::rename(part, path, failed);
  if (file && !failed) return {};
  const std::string reason = failed ? failed.message() : std::strerror(reason_number);
  if (!special) std::filesystem::remove(part, failed);
  return Error{ErrorCode::kIo, path + ": " + reason};
}

}  // namespace restkv
