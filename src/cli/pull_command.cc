#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/pull.h"

namespace restkv {
namespace {

void print_usage(std::FILE* stream) {
  std::fputs("usage: restkv pull NAME\n\nBrings a model and prints the path of its file.\n\n",
             stream);
  for (const CatalogueEntry& entry : model_catalogue()) {
    std::fprintf(stream, "  %-20s %5llu MiB  %s\n", std::string(entry.name).c_str(),
                 static_cast<unsigned long long>(entry.bytes >> 20U),
                 std::string(entry.summary).c_str());
  }
}

}  // namespace

int run_pull(std::span<const std::string_view> args) {
  if (args.size() == 1 && (args[0] == "-h" || args[0] == "--help")) {
    print_usage(stdout);
    return 0;
  }
  if (args.size() != 1) {
    print_usage(stderr);
    return kExitUsage;
  }
  const CatalogueEntry* entry = find_catalogue_entry(args[0]);
  if (entry == nullptr) {
    return report_usage({ErrorCode::kNotFound, "unknown model '" + std::string(args[0]) +
                                                   "'; known: " + catalogue_names()});
  }
  const InterruptGuard interrupt;
  const std::unique_ptr<Progress> progress = make_progress(stderr);
  PullOptions options;
  options.progress = progress.get();
  options.cancel = &interrupt.flag();
  const Result<std::string> path = pull_model(*entry, options);
  progress->end();
  if (!path.ok()) {
    return report_error(path.error());
  }
  std::printf("%s\n", path->c_str());
  return 0;
}

}  // namespace restkv
