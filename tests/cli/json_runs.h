#pragma once

// `restkv run --json` on the tiny model, and command lines that are refused.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace restkv::testing {

// Five greedy tokens after "text.txt" on one thread, with `more` flags.
inline std::vector<std::string> run_arguments(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"run",   "-m",    scratch_folder() + "/tiny.gguf",
                                   "--raw", "-f",    scratch_folder() + "/text.txt",
                                   "-t",    "1",     "--ignore-eos",
                                   "-n",    "5",     "--temp",
                                   "0",     "--json"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

inline nlohmann::json run_json(const std::vector<std::string>& more) {
  const ProgramEnd end = run_program(run_arguments(more));
  EXPECT_EQ(end.status, 0) << end.err;
  return nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
}

inline void expect_refused(const std::vector<std::string>& args, const std::string& message) {
  const ProgramEnd end = run_program(args);
  EXPECT_NE(end.status, 0);
  EXPECT_NE(end.err.find(message), std::string::npos) << end.err;
  EXPECT_EQ(end.out, "");
}

}  // namespace restkv::testing
