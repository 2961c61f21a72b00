#include "cli/report_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace restkv {

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

Result<void> write_text_file(const std::string& path, std::string_view text) {
  // What is no ordinary file (a pipe, /dev/stdout) is written where it is.
  std::error_code failed;
  const bool special =
      std::filesystem::exists(path, failed) && !std::filesystem::is_regular_file(path, failed);
  const std::string part = special ? path : path + ".part";
  errno = 0;
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  const int reason_number = errno == 0 ? EIO : errno;
  failed.clear();
  if (file && !special) std::filesystem::rename(part, path, failed);
  if (file && !failed) return {};
  const std::string reason = failed ? failed.message() : std::strerror(reason_number);
  if (!special) std::filesystem::remove(part, failed);
  return Error{ErrorCode::kIo, path + ": " + reason};
}

}  // namespace restkv
