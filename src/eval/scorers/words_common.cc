#include "eval/scorers/words_common.h"

#include <algorithm>
#include <map>

#include "eval/unicode_text.h"

namespace restkv {

std::vector<std::u32string> normal_words(std::string_view text) {
  std::u32string lowered = lower_case(code_points(text));
  std::erase_if(lowered, is_ascii_punctuation);
  // An article is a maximal run of word characters; it becomes a space, so that "the-" + "x"
  // splits.
  std::u32string kept;
  for (std::size_t i = 0; i < lowered.size();) {
    const std::size_t begin = i;
    while (i < lowered.size() && is_word_character(lowered[i])) ++i;
    const auto run = std::u32string_view(lowered).substr(begin, i - begin);
    kept += run == U"a" || run == U"an" || run == U"the" ? U" " : run;
    if (i < lowered.size()) kept += lowered[i++];
  }
  std::vector<std::u32string> words;
  for (const auto word : split_at_spaces(kept)) words.emplace_back(word);
  return words;
}

double multiset_f1(std::span<const std::u32string> prediction,
                   std::span<const std::u32string> answer) {
  std::map<std::u32string_view, std::size_t> left;
  for (const auto& word : answer) ++left[word];
  std::size_t shared = 0;
  for (const auto& word : prediction) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++shared;
  }
  if (shared == 0) return 0;
  const double precision = static_cast<double>(shared) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(shared) / static_cast<double>(answer.size());
  return 2 * precision * recall / (precision + recall);
}

Score best_over_answers(const ScoringRequest& request,
                        const std::function<double(std::string_view)>& compare) {
  Score best;
  for (const std::string& answer : request.answers) {
    best.value = std::max(best.value, compare(answer));
  }
  return best;
}

}  // namespace restkv
