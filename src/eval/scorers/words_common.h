#pragma once

// What the scorers that compare words share.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/scorers/scorer.h"

namespace restkv {

// The words of an answer as SQuAD and LongBench compare them: lower case, ASCII punctuation deleted
// (not spaced), the whole words a, an and the dropped, split at white space.
[[nodiscard]] std::vector<std::u32string> normal_words(std::string_view text);

// F1 of two multisets of words: 2PR / (P + R), with the shared words counted as often as both have
// them; 0 when they share none.
[[nodiscard]] double multiset_f1(std::span<const std::u32string> prediction,
                                 std::span<const std::u32string> answer);

// The largest of compare(answer) over all answers, at least 0.
[[nodiscard]] Score best_over_answers(const ScoringRequest& request,
                                      const std::function<double(std::string_view)>& compare);

}  // namespace restkv
