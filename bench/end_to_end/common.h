#pragma once

// What the programs of this folder share whose command lines are read as those of restkv's
// commands.

#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace restkv {

// All that their main() does.
inline int run_program(int (*program)(Arguments), int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  return program(args);
}

}  // namespace restkv
