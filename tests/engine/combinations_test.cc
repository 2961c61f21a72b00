// Every pair of settings on a small model: what the checks let through does work, and what they
// refuse is refused by the engine in the same words. So docs/combinations.md is true.

#include "engine/combinations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/harness.h"

namespace restkv {
namespace {

constexpr std::size_t kText = 150;
constexpr std::size_t kQuestion = 10;
constexpr std::size_t kSteps = 10;  // `every:8` acts once

RandomModel small_model() {
  RandomModel model{.n_layer = 3, .n_embd = 32, .n_ff = 32};  // the third layer is read in part
  model.head_dim = 32;
  return model;
}

using Choice = std::vector<std::size_t>;

std::string text_of(const std::vector<Dimension>& dimensions, const Choice& choice) {
  std::string text;
  for (std::size_t d = 0; d < choice.size(); ++d) {
    if (choice[d] != 0) text += dimensions[d].settings[choice[d]].text + " ";
  }
  return text;
}

// All usual, each setting alone, and each two settings of different dimensions.
std::vector<Choice> all_pairs(const std::vector<Dimension>& dimensions) {
  std::vector<Choice> pairs = {Choice(dimensions.size(), 0)};
  for (std::size_t a = 0; a < dimensions.size(); ++a) {
    for (std::size_t i = 1; i < dimensions[a].settings.size(); ++i) {
      Choice choice(dimensions.size(), 0);
      choice[a] = i;
      pairs.push_back(choice);
      for (std::size_t b = a + 1; b < dimensions.size(); ++b) {
        for (std::size_t j = 1; j < dimensions[b].settings.size(); ++j) {
          choice[b] = j;
          pairs.push_back(choice);
        }
        choice[b] = 0;
      }
    }
  }
  return pairs;
}

// Reads text and question as one prompt, or one after the other, and generates.
void expect_works(TestEngine& engine, const Combination& tried, bool question_later) {
  const auto tokens = random_tokens(kText + kQuestion + kSteps, engine->model().n_vocab, 1);
  const std::span<const Token> all(tokens);
  PrefillOptions prefill;
  prefill.attention = tried.prefill;
  std::vector<float> logits;
  auto read = engine->prefill(all.first(question_later ? kText : kText + kQuestion),
                              {&tried.options, 1}, prefill, logits);
  ASSERT_TRUE(read.ok()) << read.error().message;
  Sequence& sequence = read->front();
  if (question_later) {
    const auto later = engine->extend(sequence, all.subspan(kText, kQuestion), prefill, logits);
    ASSERT_TRUE(later.ok()) << later.error().message;
  }
  const std::vector<float> last = engine.decode(sequence, all.subspan(kText + kQuestion));
  EXPECT_TRUE(std::ranges::all_of(last, [](float x) { return std::isfinite(x); }));
  EXPECT_EQ(sequence.next_position(), static_cast<Position>(tokens.size()));
  const auto heads = static_cast<std::size_t>(engine->model().n_layer) *
                     static_cast<std::size_t>(engine->model().n_kv_head);
  if (tried.options.policy == "full") {
    EXPECT_EQ(sequence.rows(), heads * tokens.size());
  } else {
    EXPECT_LT(sequence.rows(), heads * tokens.size());
  }
}

TEST(Combinations, EveryPairWorksOrIsRefusedInTheSameWords) {
  TestEngine engine(small_model());
  const std::vector<Dimension> dimensions = combination_dimensions();
  std::size_t refused = 0;
  for (const Choice& choice : all_pairs(dimensions)) {
    SCOPED_TRACE(text_of(dimensions, choice));
    const Combination tried = make_combination(dimensions, choice);
    const auto fits = check_combination(tried.options, tried.prefill);
    if (fits.ok()) {
      expect_works(engine, tried, /*question_later=*/false);
      expect_works(engine, tried, /*question_later=*/true);
      continue;
    }
    ++refused;
    const auto tokens = random_tokens(kText, engine->model().n_vocab, 1);
    PrefillOptions prefill;
    prefill.attention = tried.prefill;
    std::vector<float> logits;
    const auto read = engine->prefill(tokens, {&tried.options, 1}, prefill, logits);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().message, fits.error().message);
  }
  EXPECT_GT(refused, 0U);
}

// The document lists sets of up to three settings: nothing else is refused, whatever is added.
TEST(Combinations, WhatIsRefusedHasARefusedPart) {
  std::vector<Dimension> dimensions = combination_dimensions();
  const std::vector<Refusal> refusals = smallest_refusals(dimensions);
  for (Dimension& dimension : dimensions) {  // of the types of keys and values two will do
    if (dimension.name == "keys" || dimension.name == "values") dimension.settings.resize(2);
  }
  Choice choice(dimensions.size(), 0);
  std::size_t at = 0;
  while (at < dimensions.size()) {
    const bool has_part = std::ranges::any_of(refusals, [&](const Refusal& refusal) {
      return std::ranges::equal(refusal.choice, choice, [](std::size_t part, std::size_t mine) {
        return part == 0 || part == mine;
      });
    });
    const Combination made = make_combination(dimensions, choice);
    ASSERT_EQ(check_combination(made.options, made.prefill).ok(), !has_part)
        << text_of(dimensions, choice);
    // The next choice, as a counter.
    for (at = 0; at < dimensions.size(); ++at) {
      if (++choice[at] < dimensions[at].settings.size()) break;
      choice[at] = 0;
    }
  }
}

}  // namespace
}  // namespace restkv
