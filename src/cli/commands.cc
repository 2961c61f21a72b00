#include "cli/commands.h"

#include <cstdio>

#include "cli/flags.h"

namespace restkv {

int report_error(const Error& error) {
  std::fprintf(stderr, "restkv: %s\n", error.message.c_str());
  if (error.code == ErrorCode::kCancelled) return kExitInterrupted;
  return kExitFailed;
}

int report_usage(const Error& error) {
  std::fprintf(stderr, "restkv: %s\n", error.message.c_str());
  return kExitUsage;
}

std::optional<int> read_flags(FlagSet& flags, Arguments args, const bool& help) {
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (!help) return std::nullopt;
  std::fputs(flags.help().c_str(), stdout);
  return 0;
}

void print_notices(const FlagSet& flags) {
  for (const std::string& notice : flags.notices()) {
    std::fprintf(stderr, "restkv: %s\n", notice.c_str());
  }
}

}  // namespace restkv
