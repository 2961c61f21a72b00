// `restkv bench` as a user would run it.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "base/threads.h"
#include "cli/program.h"
#include "support/random_model.h"

namespace restkv::testing {
namespace {

using Words = std::vector<std::string>;

// docs/performance.md states it.
constexpr double kPeakConstant = 96.0 * 1048576;

ProgramEnd bench(const Words& more) {
  Words args = {"bench", "-m", scratch_folder() + "/tiny.gguf", "-t", "1", "-r", "2"};
  args.insert(args.end(), more.begin(), more.end());
  return run_program(args);
}

nlohmann::json rows_of(Words more) {
  more.insert(more.end(), {"-o", "json"});
  const ProgramEnd end = bench(more);
  EXPECT_EQ(end.status, 0) << end.err;
  return nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
}

struct BadInput {
  const char* name;
  Words args;
  const char* error;
};
std::ostream& operator<<(std::ostream& out, const BadInput& one) { return out << one.name; }

class WrongBench : public ::testing::TestWithParam<BadInput> {};
INSTANTIATE_TEST_SUITE_P(
    , WrongBench,
    ::testing::Values(
        BadInput{"List", {"-p", "1-"}, "--n-prompt takes numbers and ranges like"},
        BadInput{"Range", {"-n", "9-1"}, "--n-gen '9-1' runs from high to low"},
        BadInput{"Pair", {"-pg", "512"}, "-pg takes two numbers like 512,128"},
        BadInput{"Depth", {"-d", "a"}, "--n-depth takes numbers"},
        BadInput{"NoThreads", {"-t", "0"}, "--threads takes numbers from 1 to 1024, not '0'"},
        BadInput{"ModelOfNoName", {"-m", "a.gguf,"}, "--model needs the name of a file"},
        BadInput{"NoBatch", {"-b", "0"}, "--batch-size takes numbers from 1 to 1048576"},
        BadInput{"TypeOfKeys", {"-ctk", "f16,q9"}, "unknown cache type 'q9' (known: f32, f16"},
        BadInput{"TypeOfValues", {"-ctv", ""}, "unknown cache type ''"},
        BadInput{"Policy", {"--kv-policy", "full,nope"}, "unknown policy 'nope' (known: "},
        BadInput{"Budget",
                 {"--kv-policy", "snapkv", "--kv-budget", "64,20"},
                 "a budget of 20 tokens is below the 36 protected rows"},
        BadInput{"BudgetRange",
                 {"--kv-policy", "snapkv", "--kv-budget", "64-40"},
                 "--kv-budget '64-40' runs from high to low"},
        BadInput{"DecodeBudgetRange",
                 {"--decode-attn", "quest", "--decode-budget", "64-128*0"},
                 "--decode-budget '64-128*0' never gets to its end"},
        BadInput{"Allocator", {"--kv-alloc", "nope"}, "unknown allocator 'nope'"},
        BadInput{
            "Output", {"-o", "xml"}, "unknown output 'xml' (known: md, csv, json, jsonl, sql)"},
        BadInput{"Fill", {"--fill", "noise"}, "unknown fill 'noise' (known: prompt, synthetic)"},
        BadInput{"Prefill",
                 {"--prefill", "dense,nope"},
                 "unknown prefill 'nope' (known: dense, tri-shape, vertical-slash, xattention)"},
        BadInput{"PrefillOption", {"--prefill", "xattention:stride=3"}, "4|8|16"},
        BadInput{"DecodeAttention", {"--decode-attn", "dense,nope"}, "unknown decode"},
        BadInput{"DecodeBudget",
                 {"--decode-attn", "quest", "--decode-budget", "64,no"},
                 "a percentage like 10%, not 'no'"},
        BadInput{"PiecesWithAPattern",
                 {"--kv-policy", "rest-kv", "--kv-budget", "512", "--kv-schedule", "chunk:600",
                  "--prefill", "dense,tri-shape"},
                 "the schedule chunk:600 does not go with tri-shape prefill"},
        BadInput{"NoRepetitions", {"-r", "0"}, "--repetitions takes a whole number from 1"},
        BadInput{"NothingToMeasure", {"-p", "0", "-n", "0"}, "there is nothing to measure"},
        BadInput{"Context", {"-c", "512"}, "unknown argument '-c'"},
        BadInput{"Flag", {"--no-warmpu"}, "did you mean --no-warmup?"}),
    [](const auto& one) { return std::string(one.param.name); });

TEST_P(WrongBench, IsRefusedBeforeTheModelIsLoaded) {
  Words args = {"bench", "-m", scratch_folder() + "/missing.gguf"};
  args.insert(args.end(), GetParam().args.begin(), GetParam().args.end());
  const ProgramEnd end = run_program(args);
  EXPECT_EQ(end.status, 2);
  EXPECT_NE(end.err.find(GetParam().error), std::string::npos) << end.err;
  EXPECT_EQ(end.out, "");
}

TEST(Bench, KnowsTheGranularity) {
  const auto rows = rows_of({"-p", "0", "-n", "4", "-d", "128", "--kv-policy", "snapkv",
                             "--kv-budget", "64", "--kv-granularity", "query-head"});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["kv_granularity"], "query-head");
  const auto together =
      rows_of({"-p", "0", "-n", "4", "-d", "128", "--kv-policy", "snapkv", "--kv-budget", "64"});
  EXPECT_GT(rows[0]["kv_bytes"], together[0]["kv_bytes"]) << "rows of several heads are held once";
}

TEST(Bench, MeasuresEveryCombinationOnce) {
  const auto rows =
      rows_of({"-p", "8,16", "-n", "4", "-pg", "8,2", "-d", "0,64", "-b", "16,32", "-ctk",
               "f16,q8_0", "--kv-policy", "full,streaming-llm", "--kv-budget", "40-50+10"});
  // tests x depths x batches x types x (full once, the other with two budgets)
  ASSERT_EQ(rows.size(), 4U * 2 * 2 * 2 * 3);
  std::set<std::string> seen;
  for (const auto& row : rows) {
    std::string key;
    for (const char* field :
         {"n_prompt", "n_gen", "n_depth", "n_batch", "type_k", "kv_policy", "kv_budget"}) {
      key += row[field].dump() + " ";
    }
    EXPECT_TRUE(seen.insert(key).second) << key;
    EXPECT_EQ(row["samples_ns"].size(), 2U);
    EXPECT_GT(row["avg_ts"].get<double>(), 0);
    EXPECT_GT(row["peak_rss_bytes"].get<double>(), 1e6);
    EXPECT_EQ(row["ttft_ms"].is_null(), row["n_prompt"] == 0);
  }
}

// A row says how it was computed. The tiny model's weights are f32, which has no packed form.
TEST(Bench, TheSmallerOfBothBatchSizesCounts) {
  std::vector<int> batches;
  for (const auto& row : rows_of({"-p", "8", "-n", "0", "-b", "16,64", "-ub", "32,128"})) {
    batches.push_back(row["n_batch"].get<int>());
    EXPECT_EQ(row["n_ubatch"], row["n_batch"]);
    EXPECT_GE(row["process_peak_rss_bytes"].get<double>(), row["peak_rss_bytes"].get<double>());
  }
  EXPECT_EQ(batches, (std::vector<int>{16, 32, 64}));
}

// The variables are those of the other commands; what is typed stands in their place.
TEST(Bench, TheEnvironmentStandsInForWhatIsNotTyped) {
  const std::vector<std::string> environment = {
      "LLAMA_ARG_THREADS=2",         "LLAMA_ARG_BATCH=64",          "LLAMA_ARG_UBATCH=32",
      "LLAMA_ARG_CACHE_TYPE_K=q8_0", "LLAMA_ARG_CACHE_TYPE_V=bf16", "RESTKV_ARG_PREFILL=tri-shape"};
  const auto row = [&](Words more, const Words& around) {
    Words args = {"bench", "-m", scratch_folder() + "/tiny.gguf", "-r", "1", "-p", "8", "-n", "0"};
    args.insert(args.end(), more.begin(), more.end());
    args.insert(args.end(), {"-o", "json"});
    const ProgramEnd end = run_program(args, {.environment = around, .input = "", .output = ""});
    EXPECT_EQ(end.status, 0) << end.err;
    const auto rows = nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
    EXPECT_EQ(rows.size(), 1U) << rows;
    return rows[0];
  };
  const auto obeyed = row({}, environment);
  EXPECT_EQ(obeyed["n_threads"], 2);
  EXPECT_EQ(obeyed["n_batch"], 32);
  EXPECT_EQ(obeyed["type_k"], "q8_0");
  EXPECT_EQ(obeyed["type_v"], "bf16");
  EXPECT_EQ(obeyed["prefill"], "tri-shape");
  const auto typed =
      row({"-t", "1", "-b", "16", "-ub", "16", "-ctk", "f16", "-ctv", "f16", "--prefill", "dense"},
          environment);
  EXPECT_EQ(typed["n_threads"], 1);
  EXPECT_EQ(typed["n_batch"], 16);
  EXPECT_EQ(typed["type_k"], "f16");
  EXPECT_EQ(typed["type_v"], "f16");
  EXPECT_EQ(typed["prefill"], "dense");
  EXPECT_EQ(row({}, {"LLAMA_ARG_THREADS=-1"})["n_threads"], Threads(0).count());
}

// Each model has all rows, whether it stands in a list or after a flag of its own.
TEST(Bench, MeasuresEveryModel) {
  const std::string first = scratch_folder() + "/tiny.gguf";
  const std::string second = scratch_folder() + "/second.gguf";
  std::filesystem::copy_file(first, second, std::filesystem::copy_options::overwrite_existing);
  const Words rest = {"-t", "1", "-r", "1", "-p", "8", "-n", "2"};
  const auto with = [&](Words args, const Words& more) {
    args.insert(args.begin(), "bench");
    args.insert(args.end(), rest.begin(), rest.end());
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args);
  };
  for (const Words& models :
       {Words{"-m", first, "-m", second}, Words{"-m", first + "," + second}}) {
    const ProgramEnd end = with(models, {"-o", "json"});
    ASSERT_EQ(end.status, 0) << end.err;
    const auto rows = nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
    ASSERT_EQ(rows.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(rows[i]["model_filename"], i < 2 ? first : second);
      EXPECT_EQ(rows[i]["n_prompt"], i % 2 == 0 ? 8 : 0);
    }
  }
  // People see which file a row is of.
  const ProgramEnd table = with({"-m", first + "," + second}, {"--no-warmup"});
  EXPECT_NE(table.out.find("| second.gguf | "), std::string::npos) << table.out;
  // One that is missing is known before the first is measured.
  const ProgramEnd missing = with({"-m", first, "-m", scratch_folder() + "/missing.gguf"}, {});
  EXPECT_EQ(missing.status, 1);
  EXPECT_EQ(missing.out, "");
  EXPECT_NE(missing.err.find("/missing.gguf' is neither a file"), std::string::npos) << missing.err;
  // Commas may be part of a name.
  const std::string odd = scratch_folder() + "/a,b.gguf";
  std::filesystem::copy_file(first, odd, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(with({"-m", odd}, {}).status, 0);
}

TEST(Bench, RowsSayHowTheyWereComputed) {
  const auto usual = rows_of({"-p", "8,64", "-n", "2", "-pg", "64,2"});
  ASSERT_EQ(usual.size(), 4U);
  EXPECT_EQ(usual[0]["products"], "quantised");
  EXPECT_EQ(usual[1]["products"], "expanded");
  EXPECT_EQ(usual[2]["products"], "quantised");
  EXPECT_EQ(usual[3]["products"], "expanded, quantised");
  EXPECT_EQ(usual[0]["repack"], true);
  EXPECT_EQ(usual[0]["use_mmap"], true);
  EXPECT_EQ(usual[0]["hidden_type"], "f32");
  EXPECT_NE(usual[0]["build_commit"], "");
  const auto other =
      rows_of({"-p",          "8",   "-n",        "0",         "-pg",           "8,2",
               "--products",  "f32", "-nr",       "--no-mmap", "--hidden-type", "bf16",
               "--kv-window", "8",   "--kv-sink", "1",         "--kv-protect",  "paper",
               "--kv-group",  "max", "--seed",    "3",         "--kv-policy",   "snapkv"});
  ASSERT_EQ(other.size(), 2U);
  EXPECT_EQ(other[0]["products"], "expanded");
  EXPECT_EQ(other[1]["products"], "expanded, exact");
  EXPECT_EQ(other[0]["repack"], false);
  EXPECT_EQ(other[0]["use_mmap"], false);
  EXPECT_EQ(other[0]["hidden_type"], "bf16");
  EXPECT_EQ(other[0]["kv_window"], 8);
  EXPECT_EQ(other[0]["kv_sink"], 1);
  EXPECT_EQ(other[0]["kv_protect"], "paper");
  EXPECT_EQ(other[0]["kv_group"], "max");
  EXPECT_EQ(other[0]["seed"], 3);
}

TEST(Bench, TheTableShowsWhatWasAskedForAllRows) {
  const ProgramEnd end = bench({"-p", "8", "-n", "2", "--no-warmup", "--products", "f32",
                                "--hidden-type", "bf16", "--kv-window", "8"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("| kv_window | products             | hidden_type | test "),
            std::string::npos)
      << end.out;
  EXPECT_NE(end.out.find("|         8 | expanded             | bf16        | pp8 "),
            std::string::npos)
      << end.out;
}

// Prefill patterns and decode methods are lists too; dense takes no budget and stands once.
TEST(Bench, ComparesWhatIsReadOfTheAttention) {
  const auto rows =
      rows_of({"-p", "500", "-n", "2", "-d", "0", "--prefill", "dense,tri-shape:init=64:local=64",
               "--decode-attn", "dense,quest:dense-layers=0", "--decode-budget", "64,128"});
  ASSERT_EQ(rows.size(), 2U * 2 * 3);
  std::set<std::string> seen;
  for (const auto& row : rows) {
    const std::string decode = row["decode_attn"];
    EXPECT_EQ(row["decode_budget"].get<std::string>().empty(), decode == "dense") << row;
    seen.insert(row["prefill"].dump() + decode + row["decode_budget"].dump() +
                row["n_prompt"].dump());
    if (row["n_prompt"] == 0) {
      EXPECT_TRUE(row["prefill_density"].is_null());
    } else if (row["prefill"] == "dense") {
      EXPECT_EQ(row["prefill_density"], 1.0);
    } else {
      // 4 of the 8 blocks of 64 queries see 191 rows; the last two, for 100 queries, see all. The
      // second layer is the last: one query, which sees all.
      const double first_layer = (64 + 128 + 4 * 191 + 448 + 500) / (21 * 64 + 448 + 500.0);
      EXPECT_NEAR(row["prefill_density"].get<double>(), (first_layer + 1) / 2, 1e-6);
    }
  }
  EXPECT_EQ(seen.size(), rows.size());
}

// The full depth is read once for each pattern, and the report of a continued prompt is dense.
TEST(Bench, APromptBehindADepthIsReadDensely) {
  const auto rows = rows_of({"-p", "16", "-n", "0", "-d", "400", "--prefill", "xattention"});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["prefill"], "xattention");
  EXPECT_EQ(rows[0]["prefill_density"], 1.0);
}

// Keys and values of 2 layers with one KV head of 32, f16, and positions: pages of 16 rows.
TEST(Bench, SaysWhatTheCacheHolds) {
  constexpr std::size_t kPageBytes = 16 * (2 * 2 * 32 + 4);
  for (const char* fill : {"prompt", "synthetic"}) {
    const auto rows = rows_of({"-p", "32", "-n", "0", "-d", "320", "--fill", fill, "--kv-policy",
                               "full,streaming-llm", "--kv-budget", "64"});
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0]["fill"], fill);
    EXPECT_EQ(rows[0]["kv_bytes"], 2 * (352 / 16) * kPageBytes);
    EXPECT_EQ(rows[0]["kv_budget"], "100%");
    EXPECT_EQ(rows[1]["kv_bytes"], 2 * (64 / 16) * kPageBytes);
    EXPECT_EQ(rows[1]["kv_budget"], "64");
  }
}

TEST(Bench, ComparesWithTheMachineWhereAsked) {
  if (!std::string(RESTKV_BUILD_TYPE).starts_with("Rel")) {
    GTEST_SKIP() << "reads a third of a GiB several times: too slow unless optimised";
  }
  const auto rows = rows_of({"-p", "64", "-n", "4", "--machine"});
  ASSERT_EQ(rows.size(), 2U);
  for (const auto& row : rows) {
    const auto share_of = [&](const char* rate, const char* machine) {
      EXPECT_GT(row[machine].get<double>(), 0) << machine;
      return row[rate].get<double>() / row[machine].get<double>();
    };
    const double attention = share_of("attention_gflops", "machine_gflops");
    const double all_as_products = share_of("gflops", "machine_product_gflops");
    EXPECT_GE(row["machine_product_gflops"], row["machine_gflops"]);
    const double by_flops =
        attention + all_as_products - share_of("attention_gflops", "machine_product_gflops");
    const double by_bytes = share_of("gbps", "machine_gbps");
    const double share = std::max(by_flops, by_bytes);
    EXPECT_GT(share, 0);
    EXPECT_NEAR(row["limit_share"].get<double>(), share, 1e-5 + 1e-3 * share);
    EXPECT_EQ(row["limit"], by_flops > by_bytes ? "flops" : "bandwidth");
  }
  // Memory is measured around each row, and never twice to the same bit.
  EXPECT_NE(rows[0]["machine_gbps"], rows[1]["machine_gbps"]);
  EXPECT_EQ(rows[0]["machine_gflops"], rows[1]["machine_gflops"]);
}

// On one thread, on all and on as many as are asked for, also where there is no row.
TEST(Bench, MeasuresTheMachineOnOneThreadAndOnAll) {
  if (!std::string(RESTKV_BUILD_TYPE).starts_with("Rel")) {
    GTEST_SKIP() << "reads a third of a GiB several times: too slow unless optimised";
  }
  const ProgramEnd end = bench({"-p", "0", "-n", "0", "-t", "3", "--machine"});
  EXPECT_EQ(end.status, 0) << end.err;
  const int all = Threads(0).count();
  EXPECT_NE(end.out.find("machine: 1 thread "), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("machine: 3 threads "), std::string::npos) << end.out;
  if (all > 1) {
    EXPECT_NE(end.out.find("machine: " + std::to_string(all) + " threads "), std::string::npos)
        << end.out;
  }
}

// What a prompt takes of the process is in the report: its weights, its hidden states, what the
// cache held at the most; and a constant. The model is shallow and wide, so that the hidden states
// are most of it.
TEST(Bench, ThePeakOfAPromptIsWhatTheReportSays) {
  if (!std::string(RESTKV_BUILD_TYPE).starts_with("Rel")) {
    GTEST_SKIP() << "the sanitizers hold memory of their own";
  }
  const std::string path = scratch_folder() + "/wide.gguf";
  RandomModel model = random_llama();
  model.n_layer = 2;
  model.n_embd = 1024;
  ASSERT_TRUE(random_model_file(model).write(path).ok());
  struct Setting {
    const char* hidden_type;
    double element;  // bytes
    const char* policy;
    double scratch;  // bytes a token, at the most: the probabilities that scores are made of
  };
  for (const Setting& setting : {Setting{"f32", 4, "streaming-llm", 0},
                                 {"bf16", 2, "streaming-llm", 0},
                                 {"bf16", 2, "rest-kv", 256}}) {
    // What malloc() is given back goes to the system at once; it would keep up to some MiB.
    const Surroundings around{
        .environment = {"MALLOC_MMAP_THRESHOLD_=131072"}, .input = "", .output = ""};
    Words args = {"bench", "-m", path, "-t", "1", "-r", "1", "-p", "2048,12288", "-n", "0"};
    args.insert(args.end(), {"--prefill", "tri-shape", "--kv-policy", setting.policy});
    args.insert(args.end(), {"--kv-budget", "128", "--hidden-type", setting.hidden_type});
    args.insert(args.end(), {"-o", "json"});
    const ProgramEnd end = run_program(args, around);
    ASSERT_EQ(end.status, 0) << end.err;
    const auto rows = nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
    ASSERT_EQ(rows.size(), 2U);
    double rest[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const auto& row = rows[i];
      const double hidden = row["n_prompt"].get<double>() * 1024 * setting.element;
      EXPECT_GE(row["hidden_bytes"].get<double>(), hidden);
      EXPECT_LE(row["hidden_bytes"].get<double>(), hidden + 512 * 1024 * 4) << "and a chunk in f32";
      if (row["peak_rss_bytes"].is_null()) GTEST_SKIP() << "this system cannot reset the peak";
      rest[i] = row["peak_rss_bytes"].get<double>() - row["model_size"].get<double>() -
                row["hidden_bytes"].get<double>() - row["kv_bytes_peak"].get<double>();
      EXPECT_LE(rest[i], kPeakConstant) << row;
    }
    // Of 26 to 47 MB that the longer prompt takes more, all but this is reported.
    EXPECT_GE(rest[1] - rest[0], -double(1U << 20U)) << rows;
    EXPECT_LE(rest[1] - rest[0], setting.scratch * 10240 + double(1U << 20U)) << rows;
  }
}

TEST(Bench, TheTableSaysWhatIsReadWhereItIsNotEverything) {
  const ProgramEnd end =
      bench({"-p", "8", "-n", "2", "--no-warmup", "--prefill", "dense,xattention:stride=8",
             "--decode-attn", "dense,quest", "--decode-budget", "64"});
  EXPECT_EQ(end.status, 0) << end.err;
  for (const char* text : {"| prefill             | density | decode   |",
                           "| xattention:stride=8 | ", "| quest 64 |", "100.0 %"}) {
    EXPECT_NE(end.out.find(text), std::string::npos) << text << "\n" << end.out;
  }
}

TEST(Bench, PrintsATable) {
  const ProgramEnd end = bench({"-p", "8", "-n", "2", "--no-warmup", "-ngl", "0"});
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_TRUE(end.out.starts_with("| model ")) << end.out;
  EXPECT_NE(end.out.find("| pp8 "), std::string::npos);
  EXPECT_NE(end.out.find("| tg2 "), std::string::npos);
  EXPECT_EQ(end.err,
            "restkv: --n-gpu-layers has no effect: there is no GPU here, restkv runs on the CPU\n");
}

TEST(Bench, InterruptedPrintsTheRowsSoFar) {
  Program program({"bench", "-m", scratch_folder() + "/tiny.gguf", "-t", "1", "-r", "1", "-p", "8",
                   "-n", "16000000", "-o", "json"});
  ASSERT_TRUE(program.wait_for_output());
  ::usleep(300000);
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130);
  EXPECT_EQ(end.err, "restkv: interrupted while measuring\n");
  const auto rows = nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(rows.is_array()) << end.out;
  EXPECT_LE(rows.size(), 1U);
}

TEST(Bench, OutputThatCannotBeWrittenIsAnError) {
  const ProgramEnd end =
      run_program({"bench", "-m", scratch_folder() + "/tiny.gguf", "-t", "1", "-p", "8", "-n", "2"},
                  {.environment = {}, .input = "", .output = "/dev/full"});
  EXPECT_EQ(end.status, 1);
  EXPECT_EQ(end.err, "restkv: standard output cannot be written\n");
}

}  // namespace
}  // namespace restkv::testing
