// `restkv eval` and `restkv report` from end to end, with the tiny model.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/eval_runs.h"

namespace restkv::testing {
namespace {

using nlohmann::json;

TEST(Eval, OneRowForEachSampleAndVariant) {
  const std::string database = fresh("rows.db");
  const ProgramEnd end = run_program(eval_args(database, with(kThree, {"--samples", "2"})));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("6 rows added"), std::string::npos) << end.out;
  const json report = report_of(database);
  ASSERT_EQ(report["rows"].size(), 6U);
  std::set<std::string> variants;
  for (const json& row : report["rows"]) {
    variants.insert(row["variant"]);
    EXPECT_GT(row["prompt_tokens"], 1000);
    EXPECT_EQ(row["batch"], 3);
    const bool full = row["policy"] == "full";
    EXPECT_EQ(row["kept_tokens"] == row["prompt_tokens"], full) << row;
    if (!full) {
      EXPECT_EQ(row["kept_tokens"], 100);
    }
    EXPECT_EQ(row["mode"], "aware");
    EXPECT_EQ(row["fingerprint"].get<std::string>().size(), 64U);
    const bool ruler_kernel =
        row["options"].get<std::string>().find("kernel=21") != std::string::npos;
    EXPECT_EQ(ruler_kernel, row["policy"] == "rest-kv") << row["options"];
  }
  EXPECT_EQ(variants, (std::set<std::string>{"full", "snapkv 100", "rest-kv 100"}));
}

// What is shared changes nothing: each variant alone gives the same rows.
TEST(Eval, ASharedPromptGivesWhatSeparateRunsGive) {
  const std::vector<std::string> prompts = {"--samples", "20"};
  const std::string together = fresh("together.db");
  const std::string apart = fresh("apart.db");
  ASSERT_EQ(run_program(eval_args(together, with(kThree, prompts))).status, 0);
  for (const char* policy : {"rest-kv", "full", "snapkv"}) {
    const ProgramEnd end =
        run_program(eval_args(apart, with({"--policies", policy, "--budgets", "100"}, prompts)));
    ASSERT_EQ(end.status, 0) << end.err;
  }
  const json shared = rows_apart_from_batch(together);
  EXPECT_EQ(shared.size(), 60U);
  EXPECT_EQ(shared, rows_apart_from_batch(apart));
}

// Prompts that begin alike are read from there on; no row is another for it. The tiny model has no
// packed weights, so whole chunks are shared.
TEST(Eval, WhatPromptsBeginWithIsReadOnce) {
  const std::string shared = fresh("shared.db");
  const std::string apart = fresh("unshared.db");
  const std::vector<std::string> what = {
      "--policies", "full,h2o,expected-attention,rest-kv", "--budgets", "100", "--samples", "4",
      "--modes",    "aware,before-tail,agnostic",          "-b",        "128"};
  const ProgramEnd end = run_program(eval_args(shared, what));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("prompt tokens were not read again"), std::string::npos) << end.out;
  const ProgramEnd other = run_program(eval_args(apart, with(what, {"--no-prefix-reuse"})));
  ASSERT_EQ(other.status, 0) << other.err;
  EXPECT_EQ(other.out.find("read again"), std::string::npos) << other.out;
  EXPECT_EQ(rows_apart_from_memory(shared), rows_apart_from_memory(apart));
  // What is held beside the caches is counted.
  const json held = report_of(shared)["rows"];
  const json alone = report_of(apart)["rows"];
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_GT(held[i]["bytes_peak"], alone[i]["bytes_peak"]) << held[i]["variant"];
  }
}

// A pattern is a prefill of its own, which its variants share.
TEST(Eval, PatternsOfPrefillAreVariants) {
  const std::vector<std::string> prefills = {"--prefills", "dense,tri-shape:init=64:local=200"};
  const std::string together = fresh("patterns.db");
  const std::string apart = fresh("patterns_apart.db");
  const ProgramEnd end =
      run_program(eval_args(together, with(with(kThree, prefills), {"--samples", "1"})));
  ASSERT_EQ(end.status, 0) << end.err;
  const json report = report_of(together);
  ASSERT_EQ(report["rows"].size(), 6U);
  std::map<std::string, int> batches;
  for (const json& row : report["rows"]) {
    EXPECT_EQ(row["batch"], 3);
    ++batches[row["prefill"]];
  }
  EXPECT_EQ(batches,
            (std::map<std::string, int>{{"dense", 3}, {"tri-shape:init=64:local=200", 3}}));
  for (const char* policy : {"rest-kv", "full", "snapkv"}) {
    ASSERT_EQ(
        run_program(
            eval_args(apart,
                      with({"--policies", policy, "--budgets", "100", "--samples", "1"}, prefills)))
            .status,
        0);
  }
  EXPECT_EQ(rows_apart_from_batch(together), rows_apart_from_batch(apart));
}

// A prompt that fits is the same whether its tail is read with it or after it: what is kept, the
// bytes, and what the steps of the answer read. With rows dropped the tail is beside them.
TEST(Eval, ATailCountsAsPartOfThePrompt) {
  const std::string database = fresh("tail.db");
  const ProgramEnd end =
      run_program(eval_args(database, {"--policies", "snapkv", "--budgets", "100,3000", "--samples",
                                       "1", "--modes", "aware,before-tail"}));
  ASSERT_EQ(end.status, 0) << end.err;
  std::map<std::string, json> rows;
  const json report = report_of(database);
  for (const json& row : report["rows"]) rows[row["variant"]] = row;
  const json& whole = rows.at("snapkv 3000");
  const json& later = rows.at("snapkv 3000 mode=before-tail");
  for (const char* field : {"prompt_tokens", "kept_tokens", "bytes", "bytes_full", "rows_read",
                            "rows_held", "generated_tokens"}) {
    EXPECT_EQ(later[field], whole[field]) << field;
  }
  EXPECT_EQ(whole["kept_tokens"], whole["prompt_tokens"]);
  const json& small = rows.at("snapkv 100 mode=before-tail");
  const double tail = small["kept_tokens"].get<double>() - 100;
  EXPECT_GT(tail, 0);
  EXPECT_EQ(small["rows_read"].get<double>(),
            rows.at("snapkv 100")["rows_read"].get<double>() + tail);
}

// Marks are stored with rows, so rows that are there already have none.
TEST(Eval, MarksThatComeTooLateAreSaid) {
  const std::string database = fresh("marks.db");
  const std::vector<std::string> what = {"--policies", "full", "--samples", "1", "--marks"};
  const ProgramEnd first = run_program(eval_args(database, with(what, {"0"})));
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(first.err.find("marks"), std::string::npos) << first.err;
  const ProgramEnd again = run_program(eval_args(database, with(what, {"1"})));
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("1 samples have rows from before"), std::string::npos) << again.err;
}

// A flag that is typed goes before the environment.
TEST(Eval, RawSilencesATemplateOfTheEnvironment) {
  Surroundings around;
  around.environment = {"LLAMA_ARG_CHAT_TEMPLATE=chatml"};
  const ProgramEnd end =
      run_program(eval_args(fresh("raw.db"), {"--policies", "full", "--samples", "1"}), around);
  EXPECT_EQ(end.status, 0) << end.err;
}

TEST(Eval, ASecondRunAddsOnlyWhatIsMissing) {
  const std::string database = fresh("again.db");
  ASSERT_EQ(run_program(eval_args(database, {"--policies", "full", "--samples", "1"})).status, 0);
  const ProgramEnd more = run_program(eval_args(database, with(kThree, {"--samples", "2"})));
  EXPECT_NE(more.out.find("5 rows added"), std::string::npos) << more.out << more.err;
  const ProgramEnd none = run_program(eval_args(database, with(kThree, {"--samples", "2"})));
  EXPECT_NE(none.out.find("0 rows added"), std::string::npos) << none.out << none.err;
  EXPECT_EQ(report_of(database)["rows"].size(), 6U);
}

// The seed of a policy that draws follows that of the samples, and is no other variant for it.
TEST(Eval, ScoresVaryOverSeeds) {
  const std::string database = fresh("seeds.db");
  const std::vector<std::string> what = {"--policies", "random,snapkv", "--budgets",
                                         "100",        "--samples",     "2"};
  for (const char* seed : {"42", "43"}) {
    const ProgramEnd end = run_program(eval_args(database, with(what, {"--seed", seed})));
    ASSERT_EQ(end.status, 0) << end.err;
    EXPECT_NE(end.out.find("4 rows added"), std::string::npos) << end.out;
  }
  const json report = report_of(database);
  std::set<std::string> variants;
  for (const json& entry : report["summary"]) {
    variants.insert(entry["variant"]);
    EXPECT_EQ(entry["samples"], 4) << entry;
    EXPECT_TRUE(entry["variance_over_seeds"].is_number()) << entry;
  }
  EXPECT_EQ(variants, (std::set<std::string>{"random 100", "snapkv 100"}));
  for (const json& row : report["rows"]) {
    if (row["policy"] != "random") continue;
    const std::string seed = "seed=" + std::to_string(row["seed"].get<int>());
    EXPECT_NE(row["options"].get<std::string>().find(seed), std::string::npos) << row["options"];
  }
}

TEST(Eval, AnInterruptedRunGoesOnToTheSameRows) {
  const std::string whole = fresh("whole.db");
  const std::string parts = fresh("parts.db");
  const std::vector<std::string> what = with(kThree, {"--samples", "6"});
  ASSERT_EQ(run_program(eval_args(whole, what)).status, 0);
  Program program(eval_args(parts, what));
  ASSERT_TRUE(program.wait_for_handler());
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_TRUE(end.status == 130 || end.status == 0) << end.err;
  ASSERT_EQ(run_program(eval_args(parts, what)).status, 0);
  EXPECT_EQ(rows_apart_from_memory(whole), rows_apart_from_memory(parts));
}

TEST(Eval, OtherSettingsAreNotMixed) {
  const std::string database = fresh("mixed.db");
  ASSERT_EQ(run_program(eval_args(database, {"--policies", "full", "--samples", "1"})).status, 0);
  const ProgramEnd end = run_program(
      eval_args(database, {"--policies", "snapkv", "--samples", "1", "--products", "f32"}));
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("other settings"), std::string::npos) << end.err;
  for (const std::vector<std::string>& other :
       {std::vector<std::string>{"--hidden-type", "bf16"}, {"--no-repack"}, {"--kernels", "ref"}}) {
    std::vector<std::string> more = {"--policies", "snapkv", "--samples", "1"};
    more.insert(more.end(), other.begin(), other.end());
    const ProgramEnd refused = run_program(eval_args(database, more));
    EXPECT_EQ(refused.status, 1) << other.front();
    EXPECT_NE(refused.err.find("other settings"), std::string::npos) << refused.err;
  }
  EXPECT_EQ(report_of(database)["rows"].size(), 1U);
}

TEST(Eval, VariantsOfAFile) {
  const std::string database = fresh("file.db");
  const std::string list = fresh("list.json");
  std::ofstream(list) << R"([{"policy": "full"}, {"policy": "snapkv", "budget": 90}])";
  const ProgramEnd end = run_program(eval_args(database, {"--variants", list, "--samples", "1"}));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_EQ(report_of(database)["rows"].size(), 2U);
  const ProgramEnd both = run_program(eval_args(database, {"--variants", list, "--budgets", "90"}));
  EXPECT_EQ(both.status, 2);
  // A list may come through a pipe, which has no size.
  const ProgramEnd piped =
      run_program(eval_args(database, {"--variants", "/dev/stdin", "--samples", "1"}),
                  {.environment = {},
                   .input = list,
                   .output = {},
                   .launcher = {"/bin/sh", "-c", R"(cat | "$0" "$@")"}});
  EXPECT_EQ(piped.status, 0) << piped.err;
  EXPECT_NE(piped.out.find("0 rows added"), std::string::npos) << piped.out;
}

// Whose rows are kept is a list as well; a full cache is there once.
TEST(Eval, GranularitiesAreVariants) {
  const std::string database = fresh("granularities.db");
  const ProgramEnd end =
      run_program(eval_args(database, {"--policies", "full,snapkv", "--budgets", "100", "--samples",
                                       "1", "--granularities", "kv-head,query-head"}));
  ASSERT_EQ(end.status, 0) << end.err;
  const json rows = report_of(database)["rows"];
  ASSERT_EQ(rows.size(), 3U);
  std::map<std::string, json> found;
  for (const json& row : rows) found[row["variant"]] = row;
  ASSERT_TRUE(found.contains("snapkv 100 granularity=query-head")) << rows;
  const json& apart = found["snapkv 100 granularity=query-head"];
  EXPECT_EQ(apart["granularity"], "query-head");
  EXPECT_EQ(found["snapkv 100"]["granularity"], "kv-head");
  EXPECT_EQ(apart["kept_tokens"], found["snapkv 100"]["kept_tokens"]);
  EXPECT_GE(apart["bytes"], found["snapkv 100"]["bytes"]);
}

// Schedules and modes side by side give what each gives alone; a full cache is there once.
TEST(Eval, SchedulesAndModesAreVariants) {
  const std::string together = fresh("schedules.db");
  const ProgramEnd end = run_program(eval_args(
      together, {"--policies", "full,snapkv", "--budgets", "100", "--samples", "1", "--schedules",
                 "once,cap,every:2,chunk:600", "--modes", "aware,before-tail,agnostic"}));
  ASSERT_EQ(end.status, 0) << end.err;
  const json rows = rows_apart_from_batch(together);
  ASSERT_EQ(rows.size(), 13U);
  std::set<std::string> seen;
  for (const json& row : rows) {
    EXPECT_EQ(row["prompt_tokens"], rows[0]["prompt_tokens"]);
    if (row["policy"] == "full") continue;
    const auto schedule = row["schedule"].get<std::string>();
    seen.insert(schedule + " " + row["mode"].get<std::string>());
    // A tail that is read after rows went stays beside them, unless the schedule says otherwise.
    const bool has_tail = row["mode"] == "before-tail" && schedule != "cap";
    if (has_tail) {
      EXPECT_GT(row["kept_tokens"], 100) << row;
    } else {
      EXPECT_EQ(row["kept_tokens"], 100) << row;
    }
  }
  EXPECT_EQ(seen.size(), 12U);
  const std::string alone = fresh("alone.db");
  for (const char* schedule : {"once", "cap", "every:2", "chunk:600"}) {
    for (const char* mode : {"aware", "before-tail", "agnostic"}) {
      const ProgramEnd one =
          run_program(eval_args(alone, {"--policies", "snapkv", "--budgets", "100", "--samples",
                                        "1", "--kv-schedule", schedule, "--kv-mode", mode}));
      ASSERT_EQ(one.status, 0) << one.err;
    }
  }
  ASSERT_EQ(
      run_program(eval_args(alone, {"--policies", "full", "--samples", "1", "--modes", "agnostic"}))
          .status,
      0);
  EXPECT_EQ(rows_apart_from_batch(alone), rows);
}

// Budgets and tables of a step go with the attentions that take them; the others are there once.
TEST(Eval, DecodeAttentionsTakeBudgetsAndTables) {
  const std::string model = scratch_folder() + "/tiny.gguf";
  const std::string table = fresh("sizes.json");
  const ProgramEnd made =
      run_program({"calibrate", "-m", model, "-f", scratch_folder() + "/long.txt", "-o", table,
                   "--passages", "2", "--held-back", "0", "--tokens", "512", "--decode-attn",
                   "ab-sparse:dense-layers=0", "-t", "1"});
  ASSERT_EQ(made.status, 0) << made.err;
  const std::string database = fresh("decode.db");
  const ProgramEnd end = run_program(
      eval_args(database, {"--policies", "full,snapkv", "--budgets", "100", "--samples", "1",
                           "--decode-attns", "dense,quest,ab-sparse:dense-layers=0",
                           "--decode-budgets", "64,25%", "--decode-tables", "none," + table}));
  ASSERT_EQ(end.status, 0) << end.err;
  // For each policy: dense, quest with two budgets, ab-sparse with two budgets and two tables.
  const json rows = comparable(report_of(database));
  ASSERT_EQ(rows.size(), 14U);
  std::map<std::string, int> seen;
  for (const json& row : rows) {
    const std::string attention = row["decode_attn"];
    ++seen[attention + " " + row["decode_budget"].get<std::string>()];
    const std::string options = row["options"];
    const bool has_table = row["variant_json"].contains("decode_table");
    EXPECT_EQ(options.find("decode.block=") != std::string::npos,
              attention != "dense" && !has_table)
        << options;
    EXPECT_EQ(options.find("decode.table=") != std::string::npos, has_table) << options;
    const json sizes = attention == "dense" ? json(nullptr)
                       : has_table          ? json(
                                         "a block size for each head, harmonic mean 32, "
                                                  "measured on long.txt")
                       : attention == "quest" ? json("blocks of 16 for all heads")
                                              : json("blocks of 32 for all heads");
    EXPECT_EQ(row["block_sizes"], sizes) << options;
    EXPECT_EQ(row["approximation"], false);
    if (row["generated_tokens"] < 2) continue;  // no step
    EXPECT_GT(row["rows_read"], 0) << row;
    // Quest reads the first two layers whole: all of this model.
    const bool chooses = attention.find("dense-layers=0") != std::string::npos;
    if (chooses) {
      EXPECT_LT(row["rows_read"], row["rows_held"]) << row;
    } else {
      EXPECT_EQ(row["rows_read"], row["rows_held"]) << row;
    }
    EXPECT_EQ(row["summary_bytes"] > 0, chooses) << row;
  }
  EXPECT_EQ(seen, (std::map<std::string, int>{{"dense 100%", 2},
                                              {"quest 64", 2},
                                              {"quest 25%", 2},
                                              {"ab-sparse:dense-layers=0 64", 4},
                                              {"ab-sparse:dense-layers=0 25%", 4}}));
  // What does not go with a table is refused before the model is loaded.
  const ProgramEnd sized =
      run_program(eval_args(database, {"--policies", "full", "--decode-attns", "ab-sparse:block=64",
                                       "--decode-table", table, "-m", "/nowhere.gguf"}));
  EXPECT_EQ(sized.status, 2);
  EXPECT_NE(sized.err.find("block=64"), std::string::npos) << sized.err;
  // A table of another model is refused by name.
  std::string text = json::parse(std::ifstream(table)).dump();
  const std::string fingerprint = json::parse(text)["fingerprint"];
  text.replace(text.find(fingerprint), fingerprint.size(), "0123");
  const std::string foreign = fresh("foreign.json");
  std::ofstream(foreign) << text;
  const ProgramEnd refused =
      run_program(eval_args(database, {"--policies", "full", "--samples", "1", "--decode-attns",
                                       "ab-sparse", "--decode-table", foreign}));
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("another model"), std::string::npos) << refused.err;
}

// A file's prompt that is longer than the context is cut, and stays one of the file's prompts; with
// another context it is another prompt.
TEST(Eval, PromptsThatAreCutStayWithTheOthers) {
  const std::filesystem::path data = scratch_folder() + "/cut_data";
  std::filesystem::create_directories(data / "longbench/config");
  std::ofstream(data / "longbench/config/dataset2prompt.json")
      << R"({"qasper": "T {context} Q {input}"})";
  std::ofstream(data / "longbench/config/dataset2maxlen.json") << R"({"qasper": 4})";
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  std::ofstream(data / "longbench/qasper.jsonl")
      << R"({"context": "short", "input": "q", "answers": ["a"]})" << "\n"
      << R"({"context": ")" << text << R"(", "input": "q", "answers": ["a"]})" << "\n";
  const std::string database = fresh("cut.db");
  const auto evaluated = [&](const char* context) {
    return run_program({"eval", "longbench/qasper", "-m", scratch_folder() + "/tiny.gguf", "--raw",
                        "-t", "1", "--data", data.string(), "--policies", "full", "--db", database,
                        "-c", context});
  };
  const ProgramEnd end = evaluated("512");
  ASSERT_EQ(end.status, 0) << end.err;
  const json report = report_of(database);
  ASSERT_EQ(report["rows"].size(), 2U);
  for (const json& row : report["rows"]) EXPECT_EQ(row["length"], 0) << row;
  const ProgramEnd other = evaluated("256");
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("come from another prompt"), std::string::npos) << other.err;
  EXPECT_EQ(report_of(database)["rows"].size(), 2U);
}

TEST(Eval, WrongUsageIsOneLine) {
  const auto fails = [](const std::vector<std::string>& args, const char* part) {
    const ProgramEnd end = run_program(args);
    EXPECT_EQ(end.status, 2) << part;
    EXPECT_NE(end.err.find(part), std::string::npos) << end.err;
    EXPECT_EQ(std::ranges::count(end.err, '\n'), 1) << end.err;
  };
  fails({"eval"}, "restkv eval list");
  fails({"eval", "rulr"}, "ruler");
  fails({"eval", "ruler", "--modes", "blind"}, "aware, before-tail, agnostic");
  fails({"eval", "ruler", "--schedules", "each:3"}, "once, cap, every:TOKENS, chunk:TOKENS");
  fails({"eval", "ruler", "--policies", "expected-attention", "--schedules", "cap"},
        "does not go with expected-attention");
  fails({"eval", "ruler", "--policies", "full,h2o", "--schedules", "cap", "--decode-attns",
         "arkvale"},
        "the schedule cap of h2o does not go with arkvale decode attention");
  fails({"eval", "ruler", "--decode-budgets", "64"}, "--decode-budgets 64: none of the variants");
  fails({"eval", "ruler", "--decode-attns", "quest", "--decode-tables", "x.json"},
        "--decode-tables x.json: none of the variants");
  fails({"eval", "ruler", "--decode-attns", "ab-sparse", "--decode-table", "/nowhere.json"},
        "/nowhere.json");
  fails({"eval", "ruler", "--decode-attns", "quest:block=20"}, "16|32|64|128");
  fails({"eval", "ruler", "--decode-attns", "quest", "--decode-budgets", "all"}, "1024 or 10%");
  fails({"eval", "ruler", "--schedules", "chunk:600", "--prefills", "xattention"},
        "the schedule chunk:600 does not go with xattention prefill");
  fails({"eval", "ruler", "--granularities", "layer"}, "kv-head");
  fails({"eval", "ruler", "--policies", "rest"}, "rest-kv");
  fails({"eval", "ruler", "--policies", "full,full"}, "twice");
  fails({"eval", "ruler", "--lengths", "2k"}, "--lengths");
  fails({"eval", "ruler", "--lengths", "2048,4096,2048"}, "2048 twice");
  fails({"eval", "ruler", "--lengths", "1024-4096*2,2048"}, "2048 twice");
  fails({"eval", "ruler", "--lengths", "0"}, "--lengths takes numbers from 1");
  fails({"eval", "ruler", "--db", ""}, "--db");
  fails({"eval", "ruler", "--db", ":memory:"}, ":memory:");
  fails({"eval", "ruler", "--raw", "--chat-template", "chatml"}, "exclude each other");
  fails({"eval", "ruler", "--chat-template", "nope"}, "unknown chat template 'nope'");
  fails({"eval", "ruler", "--prefill", "sideways"}, "dense, tri-shape");
  fails({"eval", "ruler", "--variants", "x.json", "--kv-opt", "alpha=0.2"}, "--kv-opt");
  fails({"report"}, "restkv report FILE");
  fails({"report", "x.db", "--format", "pdf"}, "html");
  fails({"study", "--scale", "huge"}, "small");
}

TEST(Eval, WhatCannotBeDoneIsSaid) {
  const auto fails = [](const std::vector<std::string>& args, const std::string& part) {
    const ProgramEnd end = run_program(args);
    EXPECT_EQ(end.status, 1) << part;
    EXPECT_NE(end.err.find(part), std::string::npos) << end.err;
  };
  fails({"report", scratch_folder() + "/none.db"}, "none.db: there is no such file");
  fails({"report", scratch_folder() + "/text.txt"}, "text.txt: is no database of results");
  fails({"report", scratch_folder() + "/folder"}, "folder");
  fails(eval_args(scratch_folder() + "/text.txt", {}), "text.txt: is no database of results");
  fails({"eval", "gsm8k/few-shot", "-m", scratch_folder() + "/tiny.gguf", "--raw", "--db",
         fresh("missing.db")},
        "gsm8k/test.jsonl");
  fails({"eval", "ruler/vt", "-m", scratch_folder() + "/tiny.gguf", "--raw", "--db",
         fresh("long.db"), "--lengths", "6000"},
        "context");
}

TEST(Eval, TheReportGoesToAFile) {
  const std::string database = fresh("page.db");
  ASSERT_EQ(run_program(eval_args(database, with(kThree, {"--samples", "1"}))).status, 0);
  for (const char* format : {"html", "md", "csv", "json"}) {
    const std::string path = fresh(std::string("page.") + format);
    const ProgramEnd end = run_program({"report", database, "--format", format, "-o", path});
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_EQ(end.out, "");
    EXPECT_GT(std::filesystem::file_size(path), 500U);
  }
  const ProgramEnd nowhere =
      run_program({"report", database, "-o", scratch_folder() + "/no/such/page.md"});
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_NE(nowhere.err.find("page.md"), std::string::npos) << nowhere.err;
}

}  // namespace
}  // namespace restkv::testing
