// What `run --json` prints, with the tiny model, whose sizes are known: 2 layers, 1 KV head of 32.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/json_runs.h"
#include "cli/program.h"
#include "support/tiny_llama.h"

namespace restkv::testing {
namespace {

using nlohmann::json;

constexpr std::size_t kLayers = 2;
constexpr std::size_t kRowBytes = 32 * 2 * 2 + 4;  // an f16 key and value, and the position
constexpr std::size_t kPageRows = 16;

std::size_t pages_bytes(std::size_t rows) {
  return kLayers * ((rows + kPageRows - 1) / kPageRows) * kPageRows * kRowBytes;
}

TEST(Json, OneVariantIsAnObjectWithTheBytesOfItsRows) {
  const json answer = run_json({"--kv-policy", "snapkv", "--kv-budget", "50"});
  ASSERT_TRUE(answer.is_object()) << answer;
  const json& kv = answer["kv"];
  const auto n = kv["prompt_tokens"].get<std::size_t>();
  ASSERT_GT(n, 1000U);
  EXPECT_EQ(kv["policy"], "snapkv");
  EXPECT_EQ(kv["budget"], "50");
  EXPECT_EQ(kv["allocator"], "uniform");
  EXPECT_EQ(kv["options"]["kernel"], "5");
  EXPECT_EQ(kv["kept_tokens_min"], 50);
  EXPECT_EQ(kv["kept_tokens_mean"], 50);
  EXPECT_EQ(kv["kept_tokens_max"], 50);
  EXPECT_EQ(kv["dropped_tokens_mean"], n - 50);
  EXPECT_EQ(kv["end_tokens_max"], 50 + 4);  // the fifth token ends the answer unread
  EXPECT_EQ(kv["bytes"], pages_bytes(50));
  EXPECT_EQ(kv["bytes_full"], pages_bytes(n));
  EXPECT_EQ(kv["bytes_peak"], pages_bytes(50) + n * kRowBytes);
  EXPECT_EQ(kv["hidden_bytes"], n * 64 * sizeof(float));
  EXPECT_EQ(answer["usage"], (json{{"prompt_tokens", n}, {"completion_tokens", 5}}));
  EXPECT_EQ(answer["tokens"].size(), 5U);
  EXPECT_EQ(answer["stop"], "limit");
  EXPECT_TRUE(answer["text"].is_string());
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_EQ(answer["threads"], 1);
  EXPECT_TRUE(answer["isa"].is_string());
  EXPECT_GT(answer["memory"]["peak_rss_bytes"], 1 << 20);
  const json& timings = answer["timings"];
  EXPECT_EQ(timings["prompt_n"], n);
  EXPECT_EQ(timings["predicted_n"], 5);
  for (const char* name : {"prompt_ms", "prompt_per_second", "compress_ms", "ttft_ms",
                           "predicted_ms", "predicted_per_second"}) {
    EXPECT_GT(timings[name], 0) << name;
  }
  EXPECT_LT(timings["compress_ms"], timings["prompt_ms"]);
  EXPECT_GT(timings["ttft_ms"], timings["prompt_ms"]);
}

// What is typed counts for more than what the environment says.
TEST(Json, TheEnvironmentContradictsNothing) {
  const std::vector<std::string> args =
      run_arguments({"--rope-scaling", "none", "--kv-policy", "full"});
  const ProgramEnd end = run_program(
      args, {.environment = {"LLAMA_ARG_CHAT_TEMPLATE=chatml", "LLAMA_ARG_ROPE_SCALE=2"},
             .input = "",
             .output = ""});
  EXPECT_EQ(end.status, 0) << end.err;
}

TEST(Json, OfAnOptionGivenTwiceTheLastCounts) {
  const json kv = run_json({"--kv-policy", "rest-kv", "--kv-budget", "64", "--kv-opt", "alpha=0.2",
                            "--kv-opt", "alpha=0.3"})["kv"];
  EXPECT_EQ(kv["options"]["alpha"], "0.3");
}

// The first token that the answer would have stands in the prompt already, so it is penalised.
TEST(Json, ARepeatPenaltyLooksBackOnThePrompt) {
  const json plain = run_json({"-n", "1"});
  const auto first = plain["text"].get<std::string>();
  ASSERT_FALSE(first.empty());
  const std::string prompt = first + first + first;
  const auto penalised = [&prompt](const char* last) {
    return run_json({"-n", "1", "-p", prompt, "--repeat-penalty", "1000", "--repeat-last-n", last});
  };
  const json usual = run_json({"-n", "1", "-p", prompt});
  EXPECT_EQ(penalised("0")["tokens"], usual["tokens"]);
  EXPECT_NE(penalised("100000")["tokens"], usual["tokens"]);
  // Also where the question comes later.
  const auto later = [&prompt](const char* last) {
    return run_json({"-n", "1", "-p", prompt, "--kv-mode", "agnostic", "--kv-policy", "full",
                     "--repeat-penalty", "1000", "--repeat-last-n", last})["tokens"];
  };
  EXPECT_NE(later("0"), later("100000"));
}

TEST(Json, SaysWhatOfTheAttentionWasComputed) {
  const json dense = run_json({})["prefill"];
  EXPECT_EQ(dense["attention"], "dense");
  EXPECT_EQ(dense["density"], 1.0);
  const json short_prompt = run_json({"--prefill", "vertical-slash"})["prefill"];
  EXPECT_EQ(short_prompt["attention"], "vertical-slash");
  EXPECT_NE(short_prompt["dense_because"].get<std::string>().find("7096"), std::string::npos);
  EXPECT_EQ(short_prompt["density"], 1.0);
  const json sparse = run_json({"--prefill", "tri-shape:init=64:local=128"})["prefill"];
  EXPECT_EQ(sparse["options"]["local"], "128");
  EXPECT_EQ(sparse["dense_because"], "");
  const auto layers = sparse["layer_density"].get<std::vector<double>>();
  ASSERT_EQ(layers.size(), kLayers);
  EXPECT_LT(layers.front(), 0.9);
  EXPECT_EQ(layers.back(), 1.0);  // for the last token only
  EXPECT_LT(sparse["density"], 1.0);
}

TEST(Json, APercentageIsRoundedDownAndRaisedToTheProtectedRows) {
  const json answers = run_json({"--kv-policy", "tova", "--kv-budget", "7.3%,1%"});
  ASSERT_TRUE(answers.is_array()) << answers;
  ASSERT_EQ(answers.size(), 2U);
  const auto n = answers[0]["kv"]["prompt_tokens"].get<std::size_t>();
  EXPECT_EQ(answers[0]["kv"]["kept_tokens_max"], n * 73 / 1000);
  EXPECT_EQ(answers[0]["kv"]["budget_raised"], false);
  EXPECT_EQ(answers[1]["kv"]["kept_tokens_max"], 36);
  EXPECT_EQ(answers[1]["kv"]["budget_raised"], true);
}

TEST(Json, SeveralVariantsAreAnArrayOfWhatEachPrintsAlone) {
  const json together = run_json({"--kv-policy", "full,h2o,rest-kv:wo=off", "--kv-budget", "64"});
  ASSERT_TRUE(together.is_array()) << together;
  ASSERT_EQ(together.size(), 3U);
  std::size_t i = 0;
  for (const char* policy : {"full", "h2o", "rest-kv:wo=off"}) {
    const json alone = run_json({"--kv-policy", policy, "--kv-budget", "64"});
    EXPECT_EQ(together[i]["kv"], alone["kv"]) << policy;
    EXPECT_EQ(together[i]["tokens"], alone["tokens"]) << policy;
    ++i;
  }
  EXPECT_EQ(together[0]["kv"]["untouched"], true);
  EXPECT_EQ(together[0]["kv"]["bytes"], together[0]["kv"]["bytes_full"]);
}

TEST(Json, StatesTheScheduleAndTheMode) {
  const json once = run_json({"--kv-policy", "tova", "--kv-budget", "50"});
  EXPECT_EQ(once["kv"]["schedule"], "once");
  EXPECT_EQ(once["kv"]["approximation"], false);
  EXPECT_EQ(once["kv"]["compressions"], 0);
  EXPECT_EQ(once["mode"], "aware");
  EXPECT_EQ(once["kv"]["budgets"], "per layer");
  const json zip = run_json({"--kv-policy", "kvzip", "--kv-alloc", "global", "--kv-budget", "50"});
  EXPECT_EQ(zip["kv"]["budgets"], "for all layers together");
  EXPECT_EQ(zip["kv"]["publication"],
            "KVzip, arXiv 2505.23416, with budgets per layer (unless global) and no instruction");

  const json cap = run_json({"--kv-policy", "tova", "--kv-budget", "50", "--kv-schedule", "cap"});
  EXPECT_EQ(cap["kv"]["schedule"], "cap");
  EXPECT_EQ(cap["kv"]["approximation"], false);
  EXPECT_EQ(cap["kv"]["kept_tokens_max"], 50);
  EXPECT_EQ(cap["kv"]["end_tokens_max"], 50);
  EXPECT_EQ(cap["kv"]["compressions"], 4);
  EXPECT_EQ(cap["kv"]["generated_dropped_mean"], 4);

  const json pieces =
      run_json({"--kv-policy", "tova,knorm", "--kv-budget", "50", "--kv-schedule", "chunk:200"});
  ASSERT_EQ(pieces.size(), 2U);
  for (const json& one : pieces) {
    EXPECT_EQ(one["kv"]["schedule"], "chunk:200");
    EXPECT_EQ(one["kv"]["approximation"], true);
    EXPECT_EQ(one["kv"]["prompt_tokens"], once["kv"]["prompt_tokens"]);
    EXPECT_LT(one["kv"]["bytes_peak"], once["kv"]["bytes_peak"]);
  }
  const json full = run_json({"--kv-policy", "full", "--kv-schedule", "chunk:200"});
  EXPECT_EQ(full["kv"]["approximation"], false) << "nothing was dropped between the pieces";
}

TEST(Json, SaysHowTheTokensWereDrawn) {
  const json drawn = run_json({"--temp", "1.5", "--top-k", "0", "--min-p", "0.01"});
  const json& sampling = drawn["sampling"];
  EXPECT_EQ(sampling["greedy"], false);
  EXPECT_EQ(sampling["temperature"].dump(), "1.5");
  EXPECT_EQ(sampling["top_k"], 0);
  EXPECT_EQ(sampling["top_p"].dump(), "0.95");
  EXPECT_EQ(sampling["min_p"].dump(), "0.01");
  EXPECT_EQ(sampling["repeat_penalty"], 1);
  EXPECT_EQ(sampling["repeat_last_n"], 64);
  ASSERT_TRUE(sampling["seed"].is_number_unsigned()) << sampling;
  const std::string seed = sampling["seed"].dump();
  const json again = run_json({"--temp", "1.5", "--top-k", "0", "--min-p", "0.01", "-s", seed});
  EXPECT_EQ(again["tokens"], drawn["tokens"]);
  EXPECT_EQ(again["sampling"], sampling);
  const json other = run_json({"--temp", "1.5", "--top-k", "0", "--min-p", "0.01"});
  EXPECT_NE(other["sampling"]["seed"], sampling["seed"]);
}

TEST(Json, WhatNobodyTypedIsAsTheModelsFileAsks) {
  GgufWriter file = tiny_llama().file();
  file.set_f32("general.sampling.temp", 0.5F);
  file.set_i32("general.sampling.top_k", 3);
  file.set_i32("general.sampling.mirostat", 1);
  const std::string path = scratch_folder() + "/asks.gguf";
  ASSERT_TRUE(file.write(path).ok());
  const std::vector<std::string> args = {"run",
                                         "-m",
                                         path,
                                         "--raw",
                                         "-f",
                                         scratch_folder() + "/text.txt",
                                         "-t",
                                         "1",
                                         "--ignore-eos",
                                         "-n",
                                         "5",
                                         "--top-k",
                                         "7",
                                         "-s",
                                         "9",
                                         "--repeat-last-n",
                                         "2147483647",
                                         "--json"};
  const ProgramEnd end = run_program(args);
  ASSERT_EQ(end.status, 0) << end.err;
  const json sampling = json::parse(end.out)["sampling"];
  EXPECT_EQ(sampling["temperature"].dump(), "0.5");
  EXPECT_EQ(sampling["top_k"], 7);
  EXPECT_EQ(sampling["top_p"].dump(), "0.95");
  EXPECT_EQ(sampling["repeat_last_n"], kTinyContext) << "there is nothing beyond the context";
  EXPECT_NE(end.err.find("restkv: warning: the model's file asks for general.sampling.mirostat = "
                         "'1', which is not done\n"),
            std::string::npos)
      << end.err;
}

TEST(Json, AGreedyAnswerHasNoSeed) {
  const json sampling = run_json({"-s", "7"})["sampling"];
  EXPECT_EQ(sampling["greedy"], true);
  EXPECT_TRUE(sampling["seed"].is_null()) << sampling;
}

TEST(Json, TheReportForPeopleNamesTheSeedOfWhatWasDrawn) {
  const auto report = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = run_arguments(more);
    std::erase(args, "--json");
    return run_program(args).err;
  };
  EXPECT_TRUE(
      report({"--temp", "0.8", "-s", "7"}).ends_with("sampling   seed 7, temperature 0.8\n"));
  EXPECT_EQ(report({"-s", "7"}).find("sampling"), std::string::npos);
}

// As chunkkv's own text says: whole chunks, but for the last one, which is cut where the budget
// ends.
TEST(Json, OfChunksOnlyTheLastIsCut) {
  const json one = run_json({"--kv-policy", "chunkkv:score=knorm:chunk=20", "--kv-budget", "50",
                             "--kv-window", "8", "--kv-sink", "4", "--kv-kept"});
  const auto end = one["kv"]["prompt_tokens"].get<std::size_t>() - 8;  // the window is protected
  for (const json& layer : one["kept"]["layers"]) {
    for (const json& head : layer) {
      ASSERT_EQ(head.size(), 50U);
      std::map<std::size_t, std::vector<std::size_t>> chunks;
      for (const auto position : head.get<std::vector<std::size_t>>()) {
        if (position >= 4 && position < end) chunks[position / 20].push_back(position);
      }
      std::size_t cut = 0;
      for (const auto& [chunk, held] : chunks) {
        const std::size_t first = std::max<std::size_t>(chunk * 20, 4);
        const std::size_t whole = std::min((chunk + 1) * 20, end) - first;
        EXPECT_EQ(held.front(), first);
        EXPECT_EQ(held.back(), first + held.size() - 1) << "no holes";
        if (held.size() < whole) ++cut;
      }
      EXPECT_LE(cut, 1U);
    }
  }
}

TEST(Json, StatesTheGranularityAndWhatItCosts) {
  const std::vector<std::string> common = {"--kv-policy", "snapkv", "--kv-budget", "50",
                                           "--kv-kept"};
  const auto with = [&](const std::string& granularity) {
    std::vector<std::string> args = common;
    args.insert(args.end(), {"--kv-granularity", granularity});
    return run_json(args);
  };
  const json shared = with("kv-head");
  EXPECT_EQ(shared["kv"]["granularity"], "kv-head");
  EXPECT_EQ(shared["kv"]["stored_tokens_mean"], 50);
  const json apart = with("query-head");
  EXPECT_EQ(apart["kv"]["granularity"], "query-head");
  EXPECT_EQ(apart["kv"]["kept_tokens_max"], 50);
  EXPECT_GE(apart["kv"]["stored_tokens_mean"], 50);
  EXPECT_GE(apart["kv"]["bytes"], shared["kv"]["bytes"]);
  EXPECT_EQ(apart["kv"]["bytes_full"], shared["kv"]["bytes_full"]);
}

// The text is compressed before the questions are there, so what is kept of it for one question is
// kept for all, and the tokens read are those of the other mode.
TEST(Json, SeveralQuestionsAskOneCompressedText) {
  const std::vector<std::string> common = {"--kv-policy", "snapkv", "--kv-budget", "80",
                                           "--kv-kept"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = common;
    args.insert(args.end(), more.begin(), more.end());
    return run_json(args);
  };
  const json both = with({"--kv-mode", "agnostic", "-p", "What is it?", "-p", "And who wrote it?"});
  ASSERT_TRUE(both.is_array()) << both;
  ASSERT_EQ(both.size(), 2U);
  for (const char* question : {"What is it?", "And who wrote it?"}) {
    const json& one = both[question == std::string("What is it?") ? 0 : 1];
    EXPECT_EQ(one["question"], question);
    EXPECT_EQ(one["mode"], "agnostic");
    const json alone = with({"--kv-mode", "agnostic", "-p", question});
    EXPECT_EQ(one["kv"], alone["kv"]);
    EXPECT_EQ(one["tokens"], alone["tokens"]);
    EXPECT_EQ(one["kept"], alone["kept"]);
    const json aware = with({"-p", question});
    EXPECT_EQ(aware["mode"], "aware");
    EXPECT_EQ(aware["usage"], one["usage"]);
    EXPECT_EQ(aware["kv"]["prompt_tokens"], one["kv"]["prompt_tokens"]);
    EXPECT_EQ(aware["kv"]["kept_tokens_max"], one["kv"]["kept_tokens_max"]);
  }
  // A full cache cannot tell the modes apart.
  const std::vector<std::string> full = {"--kv-policy", "full", "-p", "What is it?"};
  std::vector<std::string> agnostic = full;
  agnostic.insert(agnostic.end(), {"--kv-mode", "agnostic"});
  EXPECT_EQ(run_json(full)["tokens"], run_json(agnostic)["tokens"]);
}

// The question is read densely on top of the text; what is reported is how the text was read.
TEST(Json, APatternIsThatOfTheTextWhenTheQuestionComesLater) {
  const std::vector<std::string> pattern = {"--prefill", "tri-shape:init=64:local=128"};
  const json alone = run_json(pattern)["prefill"];
  ASSERT_LT(alone["density"], 1.0);
  std::vector<std::string> args = pattern;
  args.insert(args.end(), {"--kv-mode", "agnostic", "-p", "What is it?", "-p", "Who wrote it?"});
  const json both = run_json(args);
  ASSERT_EQ(both.size(), 2U);
  for (const json& one : both) {
    EXPECT_EQ(one["prefill"]["dense_because"], "");
    EXPECT_EQ(one["prefill"]["options"], alone["options"]);
    EXPECT_EQ(one["prefill"]["layer_density"], alone["layer_density"]);
    EXPECT_GT(one["prefill"]["attention_ms"], 0);
  }
}

}  // namespace
}  // namespace restkv::testing
