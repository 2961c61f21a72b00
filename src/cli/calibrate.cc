// `restkv calibrate`: a block size for each KV head of a model, for --decode-attn ab-sparse.

#include <cstdio>
#include <string>

#include "cli/calibration.h"
#include "cli/commands.h"
#include "cli/decode_flags.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/report_file.h"
#include "cli/session.h"
#include "eval/tasks/ruler_qa_common.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv calibrate [-m MODEL] [-f FILE | --data DIR] [-o FILE] [options]\n\n"
    "Measures how much of each head's attention blocks of 16, 32, 64 and 128 rows catch, and\n"
    "writes a table of block sizes for --decode-attn ab-sparse --decode-table FILE.";
constexpr long long kMostTokens = 1 << 20;

struct CalibrateOptions {
  CommonOptions common;
  CalibrationOptions calibration;
  std::string file;
  std::string data_dir;
  std::string output;
};

// What is read: -f, or SQuAD of the data folder, or nothing of these, for text of our own.
Result<std::string> text_file(const CalibrateOptions& options) {
  if (!options.file.empty() || options.data_dir.empty()) return options.file;
  TaskRequest request;
  request.data_dir = options.data_dir;
  return squad_path(request);
}

Result<void> check_passages(const CalibrationOptions& options, std::size_t context) {
  if (options.tokens <= context) return {};
  return Error{ErrorCode::kInvalidArgument,
               "a passage has " + std::to_string(options.tokens) + " tokens and the context " +
                   std::to_string(context) + "; --tokens gives shorter ones, -c a longer context"};
}

Result<int> run(CalibrateOptions& options, const InterruptGuard& interrupt) {
  RESTKV_ASSIGN(const std::string file, text_file(options));
  if (!options.output.empty()) RESTKV_TRY(check_text_file(options.output));
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  const std::string output =
      options.output.empty() ? session.engine->model().path + ".blocks.json" : options.output;
  const CalibrationOptions& calibration = options.calibration;
  RESTKV_TRY(check_passages(calibration, session.context));
  RESTKV_ASSIGN(
      const Calibration made,
      calibrate_to_file(session, {.text_file = file, .output = output, .calibration = calibration},
                        interrupt));
  const BlockTableOrigin& origin = made.origin;
  std::printf(
      "%s\n%zu passages of %s measured, %s mean %d, %s\n"
      "attention caught on %zu passages%s, %zu of %zu rows read (budget %s): %.2f %%, with blocks "
      "of "
      "%zu for all heads %.2f %%\n",
      output.c_str(), origin.passages, made.table.texts.c_str(), made.table.mean.c_str(),
      made.table.mean_rows, made.table.estimator.c_str(),
      origin.held_back > 0 ? origin.held_back : origin.passages,
      origin.held_back > 0 ? " held back" : "", origin.rows, origin.tokens, origin.budget.c_str(),
      100 * origin.recall, calibration.mean_rows, 100 * origin.recall_uniform);
  return 0;
}

void add_flags(FlagSet& flags, CalibrateOptions& options) {
  CalibrationOptions& calibration = options.calibration;
  flags.begin_section("measurement");
  flags.add_text({"-f", "--file"}, "FNAME",
                 "text, or a SQuAD file, whose paragraphs are read (default: text of our own)",
                 &options.file);
  flags.add_text({"--data"}, "DIR",
                 "folder with the benchmarks' files: SQuAD's, where -f names none",
                 &options.data_dir, "RESTKV_ARG_DATA");
  flags.add_text({"-o", "--output"}, "FNAME", "table to write (default: beside the model)",
                 &options.output);
  flags.add_integer(
      {"--passages"}, "passages to measure on (50)", 1, kMostTokens,
      [&calibration](long long v) { calibration.passages = static_cast<std::size_t>(v); });
  flags.add_integer(
      {"--held-back"},
      "more passages, to judge the table by (as many as the text has, at least 1, at most 10)", 0,
      kMostTokens,
      [&calibration](long long v) { calibration.held_back = static_cast<std::size_t>(v); });
  flags.add_integer(
      {"--tokens"}, "tokens of a passage (2048)", 65, kMostTokens,
      [&calibration](long long v) { calibration.tokens = static_cast<std::size_t>(v); });
  flags.add({.names = {"--mean"},
             .value_name = "NAME",
             .help = "what is held to 32: the harmonic mean of the sizes (equal memory), or the "
                     "arithmetic one (harmonic)",
             .environment = "",
             .set = [&calibration](std::string_view name) -> Result<void> {
               if (name == "harmonic") {
                 calibration.mean = BlockMean::kHarmonic;
               } else if (name == "arithmetic") {
                 calibration.mean = BlockMean::kArithmetic;
               } else {
                 return Error{ErrorCode::kInvalidArgument, "unknown mean '" + std::string(name) +
                                                               "' (known: harmonic, arithmetic)"};
               }
               return {};
             }});
  options.common.decode.method = "ab-sparse";
  add_decode_flags(flags, options.common.decode);
  flags.remove("--decode-table");
  add_model_flags(flags, options.common);
}

}  // namespace

int calibrate_command(Arguments args) {
  CalibrateOptions options;
  FlagSet flags(kUsage);
  add_flags(flags, options);
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  auto decode = parse_decode_flags(options.common.decode);
  if (!decode.ok()) return report_usage(decode.error());
  KvOptions checked;
  checked.decode = *decode;
  if (auto fits = check_kv_options(checked); !fits.ok()) return report_usage(fits.error());
  options.calibration.decode = *decode;
  if (auto fits = check_calibration(options.calibration); !fits.ok()) {
    return report_usage(fits.error());
  }
  if (options.common.context > 0) {
    const auto context = static_cast<std::size_t>(options.common.context);
    if (auto fits = check_passages(options.calibration, context); !fits.ok()) {
      return report_usage(fits.error());
    }
  }
  print_notices(flags);
  const InterruptGuard interrupt;
  auto status = run(options, interrupt);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace restkv
