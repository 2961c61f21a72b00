// `restkv study` from end to end, with the tiny model.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/eval_runs.h"
#include "cli/study_runs.h"

namespace restkv::testing {
namespace {

TEST(Study, RunsFromEndToEndAndGoesOn) {
  const std::string folder = scratch_folder() + "/study";
  std::filesystem::remove_all(folder);
  const ProgramEnd end = run_program(study_args(folder, "none"));
  ASSERT_EQ(end.status, 0) << end.err;
  for (const char* name : {"study.md", "study-figures.md", "study.html", "study.db"}) {
    EXPECT_TRUE(std::filesystem::exists(folder + "/" + name)) << name;
  }
  // All of its layers are read whole.
  EXPECT_NE(end.err.find("ab-sparse without a table of its own"), std::string::npos) << end.err;
  const std::string text = text_of(folder + "/study.md");
  for (const char* part :
       {"restkv study --scale trial", "gsm8k, tiny**: the full cache scores 0.0 %",
        "rest-kv 128 decode_attn=ab-sparse", "Without a chat template",
        "Without the chat template's end in the observation window", "| variant | mean |"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n"
                                                  << text << "\n"
                                                  << end.err;
  }
  const std::string figures = text_of(folder + "/study-figures.md");
  EXPECT_NE(figures.find("template chatml"), std::string::npos);
  EXPECT_NE(figures.find("template none"), std::string::npos);
  // What the model cannot do is not run under other caches.
  EXPECT_EQ(text.find("| gsm8k, tiny | rest-kv"), std::string::npos);
  const ProgramEnd again = run_program(study_args(folder, "none"));
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(text_of(folder + "/study.md"), text);
  // The text alone, of what there is.
  std::filesystem::remove(folder + "/study.md");
  std::vector<std::string> only_write = study_args(folder, "none");
  only_write.emplace_back("--only-write");
  const ProgramEnd written = run_program(only_write);
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_EQ(text_of(folder + "/study.md"), text);
  EXPECT_EQ(written.err.find("samples of each"), std::string::npos) << written.err;
  // The command that is named has all that makes other results.
  only_write.insert(only_write.end(), {"--hidden-type", "bf16", "-nr", "--rope-freq-base", "5e5"});
  ASSERT_EQ(run_program(only_write).status, 0);
  EXPECT_NE(
      text_of(folder + "/study.md")
          .find("--strong-model none --no-repack --hidden-type bf16 --rope-freq-base 500000`"),
      std::string::npos)
      << text_of(folder + "/study.md").substr(0, 400);
}

// What both together read is what ReST-KV is given alone, and every seed is run.
TEST(Study, EqualBytesAndSeeds) {
  const std::string folder = scratch_folder() + "/study_equal";
  std::filesystem::remove_all(folder);
  std::vector<std::string> args = study_args(folder, "none");
  args.insert(args.end(), {"--ruler-seeds", "2", "--seed", "5"});
  const ProgramEnd end = run_program(args);
  ASSERT_EQ(end.status, 0) << end.err;
  std::set<std::pair<std::string, std::int64_t>> seeds;  // with the task
  std::set<std::string> equal;
  const nlohmann::json report = report_of(folder + "/study.db");
  for (const nlohmann::json& row : report["rows"]) {
    if (row["suite"] == "ruler") seeds.emplace(row["task"], row["seed"].get<std::int64_t>());
  }
  EXPECT_EQ(seeds, (std::set<std::pair<std::string, std::int64_t>>{{"ruler/niah_single_1", 5},
                                                                   {"ruler/niah_single_1", 6},
                                                                   {"ruler/vt", 5},
                                                                   {"ruler/vt", 6}}));
  const nlohmann::json apart = report_of(folder + "/study.db.equal");
  EXPECT_EQ(apart["rows"].size(), 4U);  // one budget
  for (const nlohmann::json& row : apart["rows"]) equal.insert(row["policy"].get<std::string>());
  EXPECT_EQ(equal, std::set<std::string>{"rest-kv"});
  const std::string text = text_of(folder + "/study.md");
  EXPECT_NE(text.find("--ruler-seeds 2"), std::string::npos);
  EXPECT_NE(text.find("| ReST-KV 128 + AB-Sparse 64 ("), std::string::npos) << text;
  // Nothing is left to run.
  const ProgramEnd again = run_program(args);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(text_of(folder + "/study.md"), text);
  EXPECT_EQ(report_of(folder + "/study.db.equal")["rows"], apart["rows"]);
}

TEST(Study, NothingToWriteIsAnError) {
  const std::string folder = scratch_folder() + "/study_nothing";
  std::filesystem::remove_all(folder);
  std::vector<std::string> only_write = study_args(folder, "none");
  only_write.emplace_back("--only-write");
  const ProgramEnd end = run_program(only_write);
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("study.db"), std::string::npos) << end.err;
}

TEST(Study, WhatIsTooHardGoesToTheStrongModel) {
  const std::string folder = scratch_folder() + "/study_strong";
  std::filesystem::remove_all(folder);
  const std::string strong = scratch_folder() + "/strong.gguf";
  std::filesystem::copy_file(scratch_folder() + "/tiny.gguf", strong,
                             std::filesystem::copy_options::overwrite_existing);
  // Models are told apart by their bytes, whatever the files are called.
  std::ofstream(strong, std::ios::app | std::ios::binary) << std::string(32, '\0');
  const ProgramEnd end = run_program(study_args(folder, strong));
  ASSERT_EQ(end.status, 0) << end.err;
  std::set<std::string> seen;
  const nlohmann::json report = report_of(folder + "/study.db");
  for (const nlohmann::json& row : report["rows"]) {
    seen.insert(row["suite"].get<std::string>() + " " + row["model"].get<std::string>() + " " +
                row["variant"].get<std::string>());
  }
  EXPECT_TRUE(seen.contains("gsm8k tiny.gguf full"));
  EXPECT_FALSE(seen.contains("gsm8k tiny.gguf rest-kv 10%"));
  EXPECT_TRUE(seen.contains("gsm8k strong.gguf full"));
  EXPECT_TRUE(seen.contains("ruler tiny.gguf rest-kv 64"));
  EXPECT_FALSE(seen.contains("ruler strong.gguf full"));
}

TEST(Study, AStrongModelThatIsNotThereLosesNothing) {
  const std::string folder = scratch_folder() + "/study_without";
  std::filesystem::remove_all(folder);
  const ProgramEnd end = run_program(study_args(folder, scratch_folder() + "/nowhere.gguf"));
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.err.find("nowhere.gguf"), std::string::npos) << end.err;
  EXPECT_TRUE(std::filesystem::exists(folder + "/study.md"));
}

}  // namespace
}  // namespace restkv::testing
