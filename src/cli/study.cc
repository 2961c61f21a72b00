// `restkv study`: the comparison of the study from end to end: runs what is missing, writes the
// text and the page.

#include <cstdio>
#include <filesystem>
#include <functional>

#include "base/names.h"
#include "cli/commands.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"
#include "cli/report_file.h"
#include "eval/study.h"

namespace restkv {
namespace {

constexpr std::string_view kUsage =
    "usage: restkv study [-m MODEL] [--scale small|medium|large] [--data DIR] [-o DIR]\n\n"
    "Runs GSM8K, MultiArith and RULER under ReST-KV and the methods it is compared with, and\n"
    "writes study.md and study.html. The same command again goes on where it stopped.";

struct StudyOptions {
  EvalOptions eval;
  std::string scale = "small";
  std::string folder = "study";
};

// A part whose data are missing is left out; the text then speaks of the others.
Result<std::size_t> run_part(EvalSession& opened, const StudyPart& part, ResultStore& store,
                             const InterruptGuard& interrupt, Ranks* ranks) {
  RESTKV_ASSIGN(const auto tasks, select_tasks(part.tasks));
  opened.settings.request.lengths = part.lengths;
  opened.settings.request.samples = part.samples;
  if (leads(ranks)) {
    std::fprintf(stderr, "%s: %zu tasks, %zu samples of each, %zu variants\n", part.title.c_str(),
                 tasks.size(), part.samples, part.variants.size());
  }
  const auto outcome = evaluate(opened, tasks, part.variants, store, interrupt.flag(), ranks);
  if (outcome.ok()) return outcome->added + outcome->found;
  if (outcome.error().code != ErrorCode::kNotFound) return outcome.error();
  if (leads(ranks)) {
    std::fprintf(stderr, "restkv: %s is left out: %s\n", part.title.c_str(),
                 outcome.error().message.c_str());
  }
  return std::size_t{0};
}

Result<int> run(const StudyOptions& options, const std::vector<StudyPart>& parts,
                const InterruptGuard& interrupt, Ranks* ranks) {
  std::error_code failed;
  std::filesystem::create_directories(options.folder, failed);
  if (failed) return Error{ErrorCode::kIo, options.folder + ": " + failed.message()};
  const std::string database =
      options.eval.database.empty() ? options.folder + "/study.db" : options.eval.database;
  {
    RESTKV_ASSIGN(ResultStore store, open_store(database, ranks));
    RESTKV_ASSIGN(EvalSession opened, open_evaluation(options.eval, interrupt.flag()));
    for (const StudyPart& part : parts) {
      RESTKV_TRY(run_part(opened, part, store, interrupt, ranks));
    }
  }
  if (!leads(ranks)) return 0;
  RESTKV_ASSIGN(const ReportData data, read_report(database, {}));
  const std::string command = "restkv study --scale " + options.scale;
  RESTKV_TRY(write_text_file(options.folder + "/study.md", study_markdown(data, command)));
  RESTKV_TRY(write_text_file(options.folder + "/study.html", report_html(data)));
  std::printf("%zu rows; written: %s/study.md, %s/study.html\n", data.rows.size(),
              options.folder.c_str(), options.folder.c_str());
  return 0;
}

}  // namespace

int study_command(Arguments args) {
  StudyOptions options;
  options.eval.database.clear();
  FlagSet flags(kUsage);
  add_sample_flags(flags, options.eval);
  for (const char* name : {"--lengths", "--samples", "--db"}) flags.remove(name);
  flags.begin_section("study");
  flags.add_text({"--scale"}, "NAME", listed(study_scales(), std::identity()) + " (small)",
                 &options.scale);
  flags.add_text({"-o", "--output"}, "DIR", "folder of the results (study)", &options.folder);
  flags.add_text({"--db"}, "FILE", "SQLite file, made or gone on with (DIR/study.db)",
                 &options.eval.database);
  add_model_flags(flags, options.eval.common);
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (options.eval.common.show_help) {
    std::fputs(flags.help().c_str(), stdout);
    return 0;
  }
  const auto parts = study_parts(options.scale);
  if (!parts.ok()) return report_usage(parts.error());
  print_notices(flags);
  const InterruptGuard interrupt;
  const auto ranks = join_ranks();
  if (!ranks.ok()) return report_error(ranks.error());
  return end_command(run(options, *parts, interrupt, ranks->get()), ranks->get());
}

}  // namespace restkv
