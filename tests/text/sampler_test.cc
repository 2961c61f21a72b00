#include "text/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace restkv {
namespace {

constexpr std::size_t kVocab = 200;

std::vector<float> random_logits(unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<float> logits(kVocab);
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

Sampler make(const SamplerOptions& options, std::size_t n_vocab = kVocab) {
  auto sampler = Sampler::make(options, n_vocab);
  EXPECT_TRUE(sampler.ok());
  return std::move(sampler).value();
}

std::vector<Token> draw(Sampler& sampler, int n) {
  std::vector<Token> tokens;
  for (int i = 0; i < n; ++i) {
    tokens.push_back(sampler.sample(random_logits(static_cast<unsigned>(i))));
    sampler.accept(tokens.back());
  }
  return tokens;
}

Token largest(const std::vector<float>& logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<Token>(best);
}

TEST(Sampler, SameSeedSameTokens) {
  for (const std::uint32_t seed : {0U, 1U, 42U}) {
    Sampler a = make({.seed = seed});
    Sampler b = make({.seed = seed});
    EXPECT_EQ(draw(a, 100), draw(b, 100));
  }
  Sampler a = make({.seed = 1});
  Sampler b = make({.seed = 2});
  EXPECT_NE(draw(a, 100), draw(b, 100));
}

TEST(Sampler, ACloneGoesOnWithTheSameDraws) {
  Sampler a = make({.repeat_penalty = 1.3F, .seed = 7});
  draw(a, 20);
  Sampler b = a.clone();
  EXPECT_EQ(draw(a, 100), draw(b, 100));
  Sampler random = make({.seed = std::nullopt});  // also when the seed was drawn
  Sampler copy = random.clone();
  EXPECT_EQ(draw(random, 100), draw(copy, 100));
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfEquals) {
  for (const float temperature : {0.0F, -1.0F}) {
    Sampler sampler = make({.temperature = temperature});
    for (unsigned seed = 0; seed < 20; ++seed) {
      const auto logits = random_logits(seed);
      EXPECT_EQ(sampler.sample(logits), largest(logits));
    }
    std::vector<float> equal(kVocab, 1.0F);
    EXPECT_EQ(sampler.sample(equal), 0);
    equal[17] = equal[150] = 2.0F;
    EXPECT_EQ(sampler.sample(equal), 17);
  }
}

// A penalty of 1.0000001 changes no order here, but keeps the sampler on libllama's own chain.
TEST(Sampler, GreedyIsWhatTheChainPicksAtEveryLengthAndWithForbiddenTokens) {
  std::mt19937 generator(11);
  for (const std::size_t n : {1, 2, 15, 16, 17, 1023, 1024, 1025, 5000}) {
    for (int round = 0; round < 30; ++round) {
      std::vector<float> logits(n);
      for (float& logit : logits) logit = static_cast<float>(generator() % 40) - 20.0F;
      SamplerOptions options{.temperature = 0};
      for (int i = 0; i < round; ++i) {
        const auto at = generator() % n;
        logits[at] = 50;  // the largest are forbidden
        if (n > 40) options.forbidden.push_back(static_cast<Token>(at));
      }
      options.repeat_penalty = 1.0F;
      Sampler fast = make(options, n);
      options.repeat_penalty = 1.0000001F;
      Sampler chain = make(options, n);
      EXPECT_EQ(fast.sample(logits), chain.sample(logits)) << n << " tokens, round " << round;
      EXPECT_EQ(fast.clone().sample(logits), chain.sample(logits));
    }
  }
}

TEST(Sampler, TopOneIsGreedy) {
  Sampler sampler = make({.top_k = 1, .seed = 3});
  for (unsigned seed = 0; seed < 50; ++seed) {
    const auto logits = random_logits(seed);
    EXPECT_EQ(sampler.sample(logits), largest(logits));
  }
}

// Each filter alone, against its definition: which tokens can come out, and all of them do.
std::map<Token, int> counts(Sampler& sampler, const std::vector<float>& logits, int n) {
  std::map<Token, int> result;
  for (int i = 0; i < n; ++i) ++result[sampler.sample(logits)];
  return result;
}

TEST(Sampler, MinPKeepsTokensRelativeToTheLikeliest) {
  // Probabilities relative to the first: 1, 0.5, 0.25, 0.1, 0.01.
  const std::vector<float> logits = {0.0F, std::log(0.5F), std::log(0.25F), std::log(0.1F),
                                     std::log(0.01F)};
  Sampler sampler =
      make({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0.2F, .seed = 1}, logits.size());
  const auto seen = counts(sampler, logits, 2000);
  ASSERT_EQ(seen.size(), 3U);
  // Frequencies 4 : 2 : 1 of 2000, within five standard deviations.
  EXPECT_NEAR(seen.at(0), 1143, 111);
  EXPECT_NEAR(seen.at(1), 571, 101);
  EXPECT_NEAR(seen.at(2), 286, 78);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
  const std::vector<float> logits = {std::log(0.4F), std::log(0.3F), std::log(0.2F),
                                     std::log(0.1F)};
  Sampler sampler =
      make({.temperature = 1, .top_k = 0, .top_p = 0.65F, .min_p = 0, .seed = 1}, logits.size());
  const auto seen = counts(sampler, logits, 1000);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen.contains(0) && seen.contains(1));
}

TEST(Sampler, TopKAndAllFiltersOff) {
  const std::vector<float> logits = {0.0F, 0.1F, 0.2F, 0.3F};
  Sampler two =
      make({.temperature = 1, .top_k = 2, .top_p = 1, .min_p = 0, .seed = 1}, logits.size());
  const auto seen = counts(two, logits, 1000);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen.contains(2) && seen.contains(3));
  Sampler all =
      make({.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 1}, logits.size());
  EXPECT_EQ(counts(all, logits, 1000).size(), 4U);
}

TEST(Sampler, ForbiddenTokensNeverComeOut) {
  auto logits = random_logits(5);
  const Token best = largest(logits);
  for (const float temperature : {0.0F, 5.0F}) {
    Sampler sampler = make({.temperature = temperature,
                            .top_k = 0,
                            .top_p = 1,
                            .min_p = 0,
                            .seed = 1,
                            .forbidden = {best, 3}});
    for (int i = 0; i < 500; ++i) {
      const Token token = sampler.sample(logits);
      EXPECT_NE(token, best);
      EXPECT_NE(token, 3);
    }
  }
}

TEST(Sampler, RepeatPenaltyLooksBackOnAcceptedTokensOnly) {
  std::vector<float> logits(kVocab, 0.0F);
  logits[10] = 2.0F;
  logits[20] = 1.5F;
  Sampler sampler = make({.temperature = 0, .repeat_penalty = 2.0F, .repeat_last_n = 2});
  EXPECT_EQ(sampler.sample(logits), 10);
  EXPECT_EQ(sampler.sample(logits), 10);  // sampling alone counts for nothing
  sampler.accept(10);
  EXPECT_EQ(sampler.sample(logits), 20);     // 2 / 2 < 1.5
  sampler.accept(std::vector<Token>{1, 2});  // pushes 10 out of the last two
  EXPECT_EQ(sampler.sample(logits), 10);
}

TEST(Sampler, LogitsWithoutSenseGiveSomeToken) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    for (const float temperature : {0.0F, 0.8F}) {
      Sampler sampler = make({.temperature = temperature, .seed = 1});
      const Token token = sampler.sample(std::vector<float>(kVocab, value));
      EXPECT_GE(token, 0);
      EXPECT_LT(token, static_cast<Token>(kVocab));
    }
  }
}

TEST(Sampler, RefusesOptionsOutOfRangeByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::pair<SamplerOptions, std::string>> cases = {
      {{.temperature = nan}, "temp"},
      {{.top_p = 1.1F}, "top-p"},
      {{.top_p = nan}, "top-p"},
      {{.min_p = -0.1F}, "min-p"},
      {{.repeat_penalty = 0}, "repeat-penalty"},
      {{.repeat_penalty = 1e-45F}, "repeat-penalty"},
      {{.repeat_last_n = -1}, "repeat-last-n"},
      {{.forbidden = {static_cast<Token>(kVocab)}}, "forbidden token"},
      {{.forbidden = {-1}}, "forbidden token"},
  };
  for (const auto& [options, name] : cases) {
    const auto sampler = Sampler::make(options, kVocab);
    ASSERT_FALSE(sampler.ok()) << name;
    EXPECT_EQ(sampler.error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(sampler.error().message.starts_with(name)) << sampler.error().message;
  }
  EXPECT_FALSE(Sampler::make({}, 0).ok());
}

}  // namespace
}  // namespace restkv
