// Perplexity of a text that is fed token by token. The slow reference reads every token as a turn
// of its own, by the ways of a prefill, and adds up probabilities in plain sums.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "cli/perplexity_stream.h"
#include "cli/program.h"

namespace restkv::testing {
namespace {

constexpr std::size_t kTokens = 160;

// The lines of the output: what stands before " PPL = " and after " +/- " -> the perplexity.
std::map<std::string, double> estimates(const std::string& out) {
  std::map<std::string, double> found;
  for (const std::string& line : split_list(out, '\n')) {
    const std::size_t at = line.find(": PPL = ");
    if (at == std::string::npos) continue;
    const std::size_t open = line.find(" (");
    const std::size_t close = line.find(')');
    const std::string label = open == std::string::npos ? "" : line.substr(open + 1, close - open);
    found[line.substr(0, at) + label] = std::stod(line.substr(at + 8));
  }
  return found;
}

// Of the tiny model over text.txt.
ProgramEnd run_perplexity(const std::vector<std::string>& more) {
  std::vector<std::string> args = {
      "perplexity", "-m", scratch_folder() + "/tiny.gguf", "-f", scratch_folder() + "/text.txt",
      "-t",         "1"};
  args.insert(args.end(), more.begin(), more.end());
  return run_program(args);
}

std::map<std::string, double> perplexities(std::vector<std::string> more) {
  more.insert(more.begin(), {"--products", "f32"});
  const ProgramEnd end = run_perplexity(more);
  EXPECT_EQ(end.status, 0) << end.err;
  return estimates(end.out);
}

std::vector<std::string> fed(std::vector<std::string> more) {
  std::vector<std::string> args = {"-c",  std::to_string(kTokens), "--kv-schedule",
                                   "cap", "--kv-window",           "8"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// -log of the probability of every token but the first, each from a turn of one token.
std::vector<double> turn_by_turn(const KvOptions& options) {
  CommonOptions common;
  common.model = scratch_folder() + "/tiny.gguf";
  common.engine.products = ProductMode::kF32;
  common.engine.n_threads = 1;
  const std::atomic<bool> cancel{false};
  const Session session = Session::open(common, cancel).value();
  const std::string text = read_text_file(scratch_folder() + "/text.txt").value();
  const std::vector<Token> tokens =
      session.vocabulary->tokenize(text, {.special = SpecialText::kPlain, .bos = Bos::kByModel})
          .value();
  std::vector<float> logits;
  std::vector<Sequence> sequences =
      session.engine->prefill(std::span(tokens).first(1), {&options, 1}, {}, logits).value();
  std::vector<double> surprise;
  for (std::size_t at = 1; at < kTokens; ++at) {
    long double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
    const float own = logits[static_cast<std::size_t>(tokens[at])];
    surprise.push_back(static_cast<double>(std::log(sum) - static_cast<long double>(own)));
    EXPECT_TRUE(
        session.engine->extend(sequences.front(), std::span(tokens).subspan(at, 1), {}, logits)
            .ok());
  }
  return surprise;
}

// Of the tokens [begin, end).
double perplexity_of(const std::vector<double>& surprise, std::size_t begin, std::size_t end) {
  double sum = 0;
  for (std::size_t at = begin; at < end; ++at) sum += surprise[at - 1];
  return std::exp(sum / static_cast<double>(end - begin));
}

void expect_near(double actual, double expected) {
  EXPECT_NEAR(actual / expected, 1, 2e-5) << actual << " and " << expected;
}

TEST(FedPerplexity, WithoutEvictionIsThatOfAPrefill) {
  // In a chunk of c tokens, those from c/2 + 1 on are predicted from all before them.
  const double whole = perplexities({"-c", "160", "--chunks", "1", "--kv-policy", "full", "-ctk",
                                     "f32", "-ctv", "f32"})["Final estimate"];
  for (const char* policy : {"full", "streaming-llm", "h2o"}) {
    const auto found = perplexities(fed({"--kv-policy", policy, "--kv-budget", "160", "--stretch",
                                         "81-160", "-ctk", "f32", "-ctv", "f32"}));
    const std::string label =
        std::string(policy) == "full" ? "(full)" : std::string("(") + policy + " 160)";
    ASSERT_TRUE(found.contains("tokens 81-160" + label)) << policy;
    expect_near(found.at("tokens 81-160" + label), whole);
  }
}

TEST(FedPerplexity, IsThatOfTurnsOfOneToken) {
  for (const std::string policy : {"streaming-llm", "tova", "h2o"}) {
    KvOptions options;
    options.policy = policy;
    options.budget = Budget::parse("32").value();
    options.window = 8;
    options.type_k = options.type_v = KvType::kF32;
    const std::vector<double> surprise = turn_by_turn(options);
    const auto found = perplexities(fed({"--kv-policy", policy, "--kv-budget", "32", "--stretch",
                                         "50", "-ctk", "f32", "-ctv", "f32"}));
    const std::string label = "(" + policy + " 32)";
    ASSERT_EQ(found.size(), 5U);  // 4 stretches, the last of 10 tokens, and the whole
    expect_near(found.at("tokens 0-50" + label), perplexity_of(surprise, 1, 50));
    expect_near(found.at("tokens 50-100" + label), perplexity_of(surprise, 50, 100));
    expect_near(found.at("tokens 100-150" + label), perplexity_of(surprise, 100, 150));
    expect_near(found.at("tokens 150-160" + label), perplexity_of(surprise, 150, 160));
    expect_near(found.at("Final estimate" + label), perplexity_of(surprise, 1, kTokens));
  }
}

TEST(FedPerplexity, FirstDiffersWhereRowsAreGone) {
  const auto found = perplexities(fed({"--kv-policy", "full,streaming-llm", "--kv-budget", "64",
                                       "--stretch", "1-65,65-66,65-160"}));
  const std::string full = "(full)";
  const std::string kept = "(streaming-llm 64)";
  // Token 64 is predicted when 64 are held, token 65 when the 65th has pushed one out.
  EXPECT_EQ(found.at("tokens 1-65" + full), found.at("tokens 1-65" + kept));
  EXPECT_NE(found.at("tokens 65-160" + full), found.at("tokens 65-160" + kept));
}

TEST(FedPerplexity, DoesNotDependOnTheBatch) {
  const std::vector<std::string> rest = {"--kv-budget", "32,48", "--stretch", "40-80,120-160"};
  const auto with = [&](const char* policies) {
    std::vector<std::string> args = fed({"--kv-policy", policies});
    args.insert(args.end(), rest.begin(), rest.end());
    return perplexities(args);
  };
  const auto together = with("streaming-llm:positions=renumbered,lacache:span=1");
  auto apart = with("streaming-llm:positions=renumbered");
  apart.merge(with("lacache:span=1"));
  EXPECT_EQ(together.size(), 12U);
  EXPECT_EQ(together, apart);
}

TEST(Perplexity, SaysHowRowsWent) {
  const auto said = [](std::vector<std::string> more) {
    std::vector<std::string> args = {"--chunks",    "1", "-c",          "160",
                                     "--kv-window", "8", "--kv-policy", "knorm",
                                     "--kv-budget", "32"};
    args.insert(args.end(), more.begin(), more.end());
    return run_perplexity(args).err;
  };
  EXPECT_NE(said({}).find("knorm, budget 32, uniform, schedule once, mode agnostic\n"),
            std::string::npos);
  EXPECT_NE(said({"--kv-schedule", "chunk:40"})
                .find("schedule chunk:40 (an approximation), mode agnostic\n"),
            std::string::npos);
}

TEST(FedPerplexity, KnowsItsStretches) {
  EXPECT_EQ(StretchRule::parse("500").value().of(1200).value(),
            (std::vector<Stretch>{{0, 500}, {500, 1000}, {1000, 1200}}));
  EXPECT_EQ(StretchRule::parse("5-15,0-2").value().of(15).value(),
            (std::vector<Stretch>{{5, 15}, {0, 2}}));
  EXPECT_FALSE(StretchRule::parse("5-15,0-2").value().of(14).ok());
  for (const char* text : {"", "0", "1", "-5", "5-", "5-5", "9-5", "0-1", "5-15,", "a", "5-15x"}) {
    EXPECT_FALSE(StretchRule::parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace restkv::testing
