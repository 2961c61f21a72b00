// The restkv program: picks the command. The commands and this file are the only code that prints.

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/pull.h"

namespace restkv {
namespace {

constexpr const char* kVersion = "restkv 0.1.0\n";

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
    std::fputs(kVersion, stdout);
    return 0;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run(args.subspan(1));
  }
  std::string known;
  for (const Command& command : kCommands) {
    known += (known.empty() ? "" : ", ") + std::string(command.name);
  }
  return report_usage({ErrorCode::kInvalidArgument,
                       "unknown command '" + std::string(name) + "' (known: " + known + ")"});
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  try {
    return restkv::dispatch(args);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "restkv: out of memory or a bug of ours: %s\n", error.what());
    return restkv::kExitFailed;
  }
}
