// The restkv program: picks the command. The commands and this file are the only code that prints.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cli/build_commit.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/pull.h"

namespace restkv {
namespace {

struct Command {
  std::string_view name;
  const char* summary;
  int (*run)(Arguments args);
};

constexpr Command kCommands[] = {
    {"run", "one question about a text, with the KV report", run_command},
    {"chat", "a conversation on a compressed cache", chat_command},
    {"demo", "the main job in a minute: full cache against three methods", demo_command},
    {"perplexity", "perplexity of a text, as llama.cpp defines it", perplexity_command},
    {"bench", "speed and memory, in the manner of llama-bench", bench_command},
    {"eval", "benchmarks under many methods, results in a database", eval_command},
    {"report", "results as a page, tables or data", report_command},
    {"study", "how methods carry over to arithmetic, and how RULER scores vary", study_command},
    {"calibrate", "a block size for each head, for --decode-attn ab-sparse", calibrate_command},
    {"policies", "the eviction policies and budget allocators", policies_command},
    {"pull", "bring a model of the catalogue", run_pull},
};

void print_commands(std::FILE* out) {
  std::fputs(
      "usage: restkv COMMAND [options]\n\n"
      "Answers questions over long prompts with a key-value cache of a fraction of the size.\n\n",
      out);
  for (const Command& command : kCommands) {
    std::fprintf(out, "  %-12s %s\n", std::string(command.name).c_str(), command.summary);
  }
  std::fputs("\n`restkv COMMAND --help` lists the options of a command.\n", out);
}

// Takes the numbers of closed standard streams, so that no file that is opened later gets one of
// them and what is printed ends up in it. The wrong direction keeps them as unusable as they were.
void occupy_closed_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) != -1) continue;
    (void)open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

// A file that may not grow further is then an error where it is written, not the end of the
// process.
void survive_file_limits() { (void)std::signal(SIGXFSZ, SIG_IGN); }

// What was printed and never arrived is a failure, whatever the command says.
int check_output(int status) {
  const bool arrived = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (arrived || status != 0) return status;
  return report_error({ErrorCode::kIo, "standard output cannot be written"});
}

int dispatch(Arguments args) {
  if (args.empty()) {
    print_commands(stderr);
    return kExitUsage;
  }
  const std::string_view name = args.front();
  if (name == "-h" || name == "--help" || name == "help") {
    print_commands(stdout);
    return 0;
  }
  if (name == "--version") {
    std::printf("restkv %s (%s)\n", kVersion, build_commit());
    return 0;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run(args.subspan(1));
  }
  std::vector<std::string_view> known;
  for (const Command& command : kCommands) known.push_back(command.name);
  const std::string_view nearest = nearest_word(name, known);
  const std::string hint = nearest.empty() ? "restkv --help lists what there is"
                                           : "did you mean " + std::string(nearest) + "?";
  return report_usage(
      {ErrorCode::kInvalidArgument, "unknown command '" + std::string(name) + "'; " + hint});
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) {
  restkv::occupy_closed_streams();
  restkv::survive_file_limits();
  const std::vector<std::string_view> args(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    return restkv::check_output(restkv::dispatch(args));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "restkv: out of memory or a bug of ours: %s\n", error.what());
    return restkv::kExitFailed;
  }
}
