// Decode that reads a part of the cache, as a user sees it. The tiny model has 2 layers and 1 KV
// head.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/json_runs.h"
#include "cli/program.h"

namespace restkv::testing {
namespace {

using nlohmann::json;

TEST(DecodeFlags, TheAnswerSaysWhatWasRead) {
  const json dense = run_json({"--kv-policy", "full"})["decode"];
  EXPECT_EQ(dense["decode_attn"], "dense");
  EXPECT_EQ(dense["decode_budget"], "100%");
  EXPECT_EQ(dense["block_sizes"], "");
  EXPECT_EQ(dense["steps"], 4);  // the fifth token ends the answer unread
  EXPECT_EQ(dense["rows_read_mean"], dense["rows_held_mean"]);

  const json quest = run_json({"--kv-policy", "full", "--decode-attn", "quest:dense-layers=0",
                               "--decode-budget", "64"})["decode"];
  EXPECT_EQ(quest["decode_attn"], "quest");
  EXPECT_EQ(quest["decode_budget"], "64");
  EXPECT_EQ(quest["options"]["block"], "16");
  EXPECT_EQ(quest["block_sizes"], "blocks of 16 for all heads");
  EXPECT_EQ(quest["rows_held_mean"], dense["rows_held_mean"]);
  EXPECT_GT(quest["rows_read_mean"], 48);  // 3 full pages and the one that is being filled
  EXPECT_LE(quest["rows_read_mean"], 64);
  EXPECT_GT(quest["summary_bytes"], 0);

  // Rows go after every step, and with them the blocks that the step chose by.
  const json capped =
      run_json({"--kv-policy", "streaming-llm", "--kv-budget", "90", "--kv-schedule", "cap",
                "--decode-attn", "quest:dense-layers=0", "--decode-budget", "48"})["decode"];
  EXPECT_GT(capped["summary_bytes"], 0);

  const json sparse = run_json({"--kv-policy", "full", "--decode-attn", "ab-sparse"})["decode"];
  EXPECT_EQ(sparse["decode_budget"], "4%");
  EXPECT_EQ(sparse["block_sizes"], "blocks of 32 for all heads");
  EXPECT_EQ(sparse["options"]["summaries"], "int4");
}

TEST(DecodeFlags, AreCheckedBeforeTheModelIsLoaded) {
  expect_refused(run_arguments({"--decode-attn", "quests"}), "ab-sparse, arkvale, dense, quest");
  expect_refused(run_arguments({"--decode-attn", "quest:block=20"}), "16|32|64|128");
  expect_refused(run_arguments({"--decode-attn", "quest", "--decode-budget", "0"}), "budget");
  expect_refused(run_arguments({"--decode-budget", "10%"}), "no budget");
  expect_refused(run_arguments({"--decode-attn", "ab-sparse", "--decode-table", "/nowhere.json"}),
                 "/nowhere.json");
  expect_refused({"perplexity", "-p", "a", "--decode-attn", "quest"}, "--decode-attn");
}

TEST(DecodeFlags, ATableThatIsNoTableIsRefused) {
  const std::string path = scratch_folder() + "/broken.json";
  const std::string head = R"({"format": "restkv block sizes 1", "fingerprint": "ab")";
  for (const std::string& text :
       {std::string("no json"), std::string("[]"), std::string("{}"), head + "}",
        head + R"(, "block_rows": []})", head + R"(, "block_rows": [[16], [16, 32]]})",
        head + R"(, "block_rows": [[17], [16]]})", head + R"(, "block_rows": [["16"], [16]]})"}) {
    std::ofstream(path) << text;
    expect_refused(run_arguments({"--decode-attn", "ab-sparse", "--decode-table", path}), path);
  }
  // How it was made may be missing, but not be something else.
  const std::string sizes = head + R"(, "block_rows": [[16], [16]], )";
  for (const auto& [field, wanted] : std::map<std::string, std::string>{
           {R"("estimator": "guess")", "'estimator' must be one of quest, arkvale, not 'guess'"},
           {R"("summaries": 4)", "'summaries' must be a string"},
           {R"("mean": "geometric")", "'mean' must be one of harmonic, arithmetic"},
           {R"("mean_rows": -1)", "mean_rows is no number of rows"},
           {R"("texts": 1)", "'texts' must be a string"}}) {
    std::ofstream(path) << sizes << field << "}";
    expect_refused(run_arguments({"--decode-attn", "ab-sparse", "--decode-table", path}),
                   path + ": ");
    expect_refused(run_arguments({"--decode-attn", "ab-sparse", "--decode-table", path}), wanted);
  }
}

}  // namespace
}  // namespace restkv::testing
