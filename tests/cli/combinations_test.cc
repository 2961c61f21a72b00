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

}  // namespace
}  // namespace restkv::testing
