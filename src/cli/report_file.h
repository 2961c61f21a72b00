#pragma once

// From a database of results to a report in a file.

#include <string>
#include <string_view>

#include "eval/report/report.h"
#include "eval/statistics.h"
#include "restkv/result.h"

namespace restkv {

// Everything that the database holds, not summed up yet. kNotFound when it holds no row.
Result<ReportData> read_rows(const std::string& database);
// The same, summed up.
Result<ReportData> read_report(const std::string& database, const ResamplingOptions& options);

// Whether write_text_file() could; leaves nothing behind. For who has hours of work to do first.
// kIo.
Result<void> check_text_file(const std::string& path);
// Replaces a file as a whole. kIo.
Result<void> write_text_file(const std::string& path, std::string_view text);

}  // namespace restkv
