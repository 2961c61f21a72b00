// What does not go together is refused before a model is looked at: that there is none is not what
// the program complains about.

#include "engine/combinations.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cli/program.h"

namespace restkv::testing {
namespace {

TEST(Combinations, AreRefusedBeforeTheModelIsLoaded) {
  const std::vector<Dimension> dimensions = combination_dimensions();
  const std::vector<Refusal> refusals = smallest_refusals(dimensions);
  ASSERT_FALSE(refusals.empty());
  for (const Refusal& refusal : refusals) {
    std::vector<std::string> args = {"run", "-m", "no-such-folder/model.gguf", "-p", "x"};
    args.insert(args.end(), {"--kv-budget", "48"});
    for (std::size_t d = 0; d < dimensions.size(); ++d) {
      if (refusal.choice[d] == 0) continue;
      args.push_back(dimensions[d].flag);
      args.push_back(dimensions[d].settings[refusal.choice[d]].text);
    }
    const ProgramEnd end = run_program(args);
    EXPECT_NE(end.status, 0);
    EXPECT_NE(end.err.find(refusal.message), std::string::npos)
        << end.err << "\ninstead of " << refusal.message;
    EXPECT_EQ(std::ranges::count(end.err, '\n'), 1) << end.err;
  }
}

// The last part of docs/combinations.md: numbers, files and models. What is wrong with a table is
// in calibrate_test.cc, with the types of caches in tests/engine.
TEST(Combinations, AreRefusedForTheirNumbers) {
  struct Case {
    std::vector<std::string> args;
    const char* model;
    const char* message;
  };
  const char* none = "no-such-folder/model.gguf";
  const char* tiny = "tiny.gguf";
  for (const Case& one : {
           Case{{"--kv-policy", "rest-kv", "--kv-window", "7"},
                none,
                "rest-kv needs an even window"},
           Case{{"--kv-policy", "chunkkv:score=rest-kv", "--kv-window", "7"},
                none,
                "chunkkv needs an even window"},
           Case{{"--kv-schedule", "chunk:31"}, none, "shorter than the window of 32"},
           Case{{"--kv-budget", "35"}, none, "below the 36 protected rows"},
           Case{{"--decode-budget", "64"}, none, "dense decode attention reads everything"},
           Case{{"--kv-policy", "lacache:span=2:overlap=2"}, none, "must be below the span"},
           Case{{"--kv-policy", "lacache:span=99"}, tiny, "make no ladder in a model of"},
       }) {
    const std::string model =
        one.model == tiny ? scratch_folder() + "/" + one.model : std::string(one.model);
    std::vector<std::string> args = {"run", "-m", model, "-p", "x", "--raw"};
    args.insert(args.end(), one.args.begin(), one.args.end());
    const ProgramEnd end = run_program(args);
    EXPECT_NE(end.status, 0);
    EXPECT_NE(end.err.find(one.message), std::string::npos) << end.err;
  }
}

}  // namespace
}  // namespace restkv::testing
