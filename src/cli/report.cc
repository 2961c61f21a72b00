// `restkv report`: what a database of results says, for people and for programs.

#include <cstdio>

#include "base/names.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/report_file.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv report FILE.db [--format html|md|csv|json] [-o FILE]\n\n"
    "Means, spreads and differences of the results in a database.";

struct ReportOptions {
  std::string database;
  std::string format = "md";
  std::string output;  // empty = standard output
  ResamplingOptions resampling;
};

Result<int> write(const ReportOptions& options) {
  RESTKV_ASSIGN(const ReportFormat* format, find_report_format(options.format));
  RESTKV_ASSIGN(const ReportData data, read_report(options.database, options.resampling));
  const std::string text = format->write(data);
  if (!options.output.empty()) {
    RESTKV_TRY(write_text_file(options.output, text));
    return 0;
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace

int report_command(Arguments args) {
  ReportOptions options;
  bool help = false;
  std::string_view name;
  if (!args.empty() && !args.front().starts_with('-')) {
    name = args.front();
    args = args.subspan(1);
  }
  FlagSet flags(kUsage);
  flags.begin_section("report");
  flags.add_text({"--format"}, "NAME", listed(report_formats(), &ReportFormat::name) + " (md)",
                 &options.format);
  flags.add_text({"-o", "--output"}, "FILE", "where to (default: standard output)",
                 &options.output);
  flags.add_integer(
      {"--resamples"}, "draws of the bootstrap (10000)", 100, 10'000'000,
      [&options](long long v) { options.resampling.resamples = static_cast<std::size_t>(v); });
  flags.add_switch({"-h", "--help"}, "this text", [&help] { help = true; });
  if (const auto status = read_flags(flags, args, help)) return *status;
  options.database = name;
  if (name.empty()) {
    return report_usage(
        {ErrorCode::kInvalidArgument, "name the database before the options: restkv report FILE"});
  }
  if (auto known = find_report_format(options.format); !known.ok()) {
    return report_usage(known.error());
  }
  auto status = write(options);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
