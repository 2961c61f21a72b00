#pragma once

// Short ways to score, for tests.

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "eval/scorers/scorer.h"

namespace restkv {

inline const ScorerInfo& scorer_named(std::string_view name) {
  const auto found = find_scorer(name);
  EXPECT_TRUE(found.ok()) << name;
  return **found;
}

// NaN and a failed expectation where the scorer gives an error.
inline double score_of(std::string_view scorer, std::string_view prediction,
                       const std::vector<std::string>& answers,
                       const std::vector<std::string>& classes = {},
                       const ChineseWords* chinese_words = nullptr) {
  const auto result = score(scorer_named(scorer), {.prediction = prediction,
                                                   .answers = answers,
                                                   .classes = classes,
                                                   .chinese_words = chinese_words});
  EXPECT_TRUE(result.ok()) << scorer << ": " << (result.ok() ? "" : result.error().message);
  return result.ok() ? result->value : std::numeric_limits<double>::quiet_NaN();
}

inline bool is_answered(std::string_view scorer, std::string_view prediction,
                        const std::vector<std::string>& answers) {
  const auto result = score(scorer_named(scorer), {.prediction = prediction, .answers = answers});
  EXPECT_TRUE(result.ok());
  return result.ok() && result->answered;
}

}  // namespace restkv
