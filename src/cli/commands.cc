#include "cli/commands.h"

#include <cstdio>

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

}  // namespace restkv
