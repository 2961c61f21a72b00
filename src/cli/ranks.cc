#include "cli/ranks.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli/commands.h"

namespace restkv {

// Open MPI's variable, then that of MPICH and its descendants.
std::size_t ranks_in_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* const text = std::getenv(name);
    if (text != nullptr) return static_cast<std::size_t>(std::strtoul(text, nullptr, 10));
  }
  return 0;
}

int end_command(const Result<int>& status, Ranks* ranks) {
  const int code = status.ok() ? *status : report_error(status.error());
  if (!status.ok() && ranks != nullptr) {
    std::fflush(stdout);
    ranks->abandon(code);
  }
  return code;
}

}  // namespace restkv
