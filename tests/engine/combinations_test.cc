// Every pair of settings on a small model: what the checks let through does work, and what they
// refuse is refused by the engine in the same words. So docs/combinations.md is true.

#include "engine/combinations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/harness.h"

namespace restkv {
namespace {

// Long enough for every pattern to leave something out, and for lagkv within chunkkv, whose parts
// are of 128 rows, to score one.
constexpr std::size_t kText = 330;
constexpr std::size_t kQuestion = 10;
constexpr std::size_t kSteps = 10;  // `every:8` acts once
// Rows of a head: six pages, of which a step that reads a part reads three or four.
constexpr double kBudget = 96;

RandomModel small_model() {
  // In prefill the last layer reads one row, in decode the first layer reads everything: two of
  // three are read in part.
  RandomModel model{.n_layer = 3, .n_embd = 32, .n_ff = 32};
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

// What is asked for, in sizes at which so short a text is not read in full.
Combination make_small(const std::vector<Dimension>& dimensions, const Choice& choice) {
  Combination made = make_combination(dimensions, choice);
  KvOptions& options = made.options;
  options.budget.amount = kBudget;
  if (options.policy == "lagkv") options.policy_options.emplace_back("lag", "8");
  PrefillAttention& prefill = made.prefill;
  if (prefill.pattern == "tri-shape") {
    prefill.options = {{"init", "16"}, {"local", "64"}, {"last", "0"}};
  } else if (prefill.pattern == "vertical-slash") {
    prefill.options = {{"vertical", "30"}, {"slash", "100"}};
  } else if (prefill.pattern == "xattention") {
    prefill.options = {{"block", "64"}, {"threshold", "0.1"}};
  }
  if (options.decode.method != "dense") {
    options.decode.method_options = {{"dense-layers", "1"}, {"block", "16"}};
    options.decode.budget = Budget{.unit = Budget::Unit::kTokens, .amount = 32};
  }
  return made;
}

void expect_a_part_was_read(const PrefillReport& prefill) {
  EXPECT_EQ(prefill.dense_because, "");
  ASSERT_EQ(prefill.layer_density.size(), 3U);
  EXPECT_LT(prefill.layer_density[0], 1.0);
  EXPECT_LT(prefill.layer_density[1], 1.0);
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
  if (tried.prefill.pattern != "dense") expect_a_part_was_read(sequence.report().prefill);
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
  const DecodeReport decode = sequence.report().decode;
  EXPECT_EQ(decode.rows_read_mean < decode.rows_held_mean, tried.options.decode.method != "dense")
      << decode.rows_read_mean << " of " << decode.rows_held_mean;
}

TEST(Combinations, EveryPairWorksOrIsRefusedInTheSameWords) {
  TestEngine engine(small_model());
  const std::vector<Dimension> dimensions = combination_dimensions();
  std::size_t refused = 0;
  for (const Choice& choice : all_pairs(dimensions)) {
    SCOPED_TRACE(text_of(dimensions, choice));
    const Combination tried = make_small(dimensions, choice);
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
