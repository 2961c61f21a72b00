// Tables of block sizes as a user makes and uses them. The tiny model has 2 layers and 1 KV head.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/json_runs.h"
#include "cli/program.h"

namespace restkv::testing {
namespace {

using nlohmann::json;

TEST(Calibrate, MakesATableThatOnlyItsModelTakes) {
  const std::string path = scratch_folder() + "/table.json";
  const ProgramEnd end = run_program(
      {"calibrate", "-m", scratch_folder() + "/tiny.gguf", "-f", scratch_folder() + "/text.txt",
       "-o", path, "--passages", "1", "--held-back", "0", "--tokens", "1000", "-t", "1",
       "--decode-attn", "ab-sparse:dense-layers=0", "--decode-budget", "20%"});
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("attention caught on 1 passages of text.txt:"), std::string::npos)
      << end.out;
  std::ifstream file(path);
  json table = json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(table.is_object());
  EXPECT_EQ(table["model"], "tiny");
  EXPECT_EQ(table["texts"], "text.txt");
  EXPECT_EQ(table["mean"], "harmonic");
  EXPECT_EQ(table["estimator"], "quest");
  ASSERT_EQ(table["block_rows"].size(), 2U);
  double inverse = 0;
  for (const json& layer : table["block_rows"]) inverse += 1.0 / layer[0].get<double>();
  EXPECT_LE(inverse, 2.0 / 32);
  EXPECT_GT(table["recall"], 0);
  EXPECT_LE(table["recall"], 1);

  const std::vector<std::string> with_table = {"--decode-attn", "ab-sparse:dense-layers=0",
                                               "--decode-table", path};
  EXPECT_EQ(run_json(with_table)["decode"]["table"], path);
  table["fingerprint"] = "0123456789abcdef";
  std::ofstream(path) << table.dump();
  expect_refused(run_arguments(with_table), "another model");
}

TEST(Calibrate, SaysWhatIsWrong) {
  const std::string model = scratch_folder() + "/tiny.gguf";
  const std::string text = scratch_folder() + "/text.txt";
  expect_refused({"calibrate", "-m", model, "-f", text, "--passages", "9999"}, "tokens");
  expect_refused({"calibrate", "-m", model, "-f", text, "--decode-attn", "quest", "--passages", "1",
                  "--held-back", "0", "--tokens", "100"},
                 "takes no table");
  expect_refused({"calibrate", "-m", model, "-f", text, "--passages", "1", "--held-back", "0",
                  "--tokens", "100"},
                 "nothing to measure");  // both layers of the tiny model are read whole
  expect_refused({"calibrate", "--mean", "geometric"}, "harmonic, arithmetic");
}

}  // namespace
}  // namespace restkv::testing
