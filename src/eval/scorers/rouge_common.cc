#include "eval/scorers/rouge_common.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "eval/unicode_text.h"

namespace restkv {
namespace {

// Words are numbered over both texts, in order of appearance.
using Sentence = std::vector<std::uint32_t>;
using Numbers = std::map<std::u32string, std::uint32_t, std::less<>>;

constexpr std::uint64_t kMostCells = 1ULL << 30;  // about two seconds and 128 MiB

std::uint32_t number_of(Numbers& numbers, std::u32string_view word) {
  const auto found = numbers.find(word);
  if (found != numbers.end()) return found->second;
  return numbers.emplace(word, static_cast<std::uint32_t>(numbers.size())).first->second;
}

std::size_t words_in(std::span<const Sentence> sentences) {
  std::size_t count = 0;
  for (const Sentence& sentence : sentences) count += sentence.size();
  return count;
}

Result<void> check_size(std::span<const Sentence> a, std::span<const Sentence> b) {
  const std::size_t rows = words_in(a);
  const std::size_t columns = words_in(b);
  if (rows == 0 || columns <= kMostCells / rows) return {};
  return Error{ErrorCode::kUnsupported, "texts of " + std::to_string(rows) + " and " +
                                            std::to_string(columns) +
                                            " words are too long for ROUGE-L"};
}

// Which word goes where leaving out the last word of x or that of y is equally good. The two
// packages differ in it, and which of the longest subsequences is found matters to the unions.
enum class Tie : std::uint8_t { kDropX, kDropY };

// Calls visit(i) for the positions in x, last first, of one longest common subsequence of x and y.
template <typename Visit>
void visit_common(const Sentence& x, const Sentence& y, Tie tie, Visit visit) {
  const std::size_t columns = y.size();
  std::vector<bool> drop_x(x.size() * columns);  // one bit for each cell; lengths need one row only
  std::vector<std::uint32_t> above(columns + 1);
  std::vector<std::uint32_t> row(columns + 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      drop_x[i * columns + j] = tie == Tie::kDropX ? above[j + 1] >= row[j] : above[j + 1] > row[j];
      row[j + 1] = x[i] == y[j] ? above[j] + 1 : std::max(above[j + 1], row[j]);
    }
    std::swap(above, row);
  }
  for (std::size_t i = x.size(), j = columns; i > 0 && j > 0;) {
    if (x[i - 1] == y[j - 1]) {
      visit(i - 1);
      --i, --j;
    } else if (drop_x[(i - 1) * columns + j - 1]) {
      --i;
    } else {
      --j;
    }
  }
}

// Pieces between full stops that are not empty. A blank piece is one empty word.
std::vector<Sentence> dotted_sentences(std::u32string_view text, Numbers& numbers) {
  std::vector<Sentence> sentences;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(U'.'), text.size());
    if (end > 0) {
      Sentence& sentence = sentences.emplace_back();
      for (const auto word : split_at_spaces(text.substr(0, end))) {
        sentence.push_back(number_of(numbers, word));
      }
      if (sentence.empty()) sentence.push_back(number_of(numbers, U""));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return sentences;
}

// Lines that are not empty; a line may be without words.
std::vector<Sentence> line_sentences(std::u32string_view text, Numbers& numbers) {
  std::vector<Sentence> sentences;
  std::u32string lowered = lower_case(text);
  for (char32_t& c : lowered) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\n')) c = U' ';
  }
  std::u32string_view rest = lowered;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(U'\n'), rest.size());
    Sentence& sentence = sentences.emplace_back();
    for (const auto word : split_at_spaces(rest.substr(0, end))) {
      sentence.push_back(number_of(numbers, word));
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return sentences;
}

std::size_t different_words(std::span<const Sentence> sentences, std::size_t known) {
  std::vector<bool> seen(known);
  for (const Sentence& sentence : sentences) {
    for (const std::uint32_t word : sentence) seen[word] = true;
  }
  return static_cast<std::size_t>(std::ranges::count(seen, true));
}

std::vector<std::size_t> frequencies(std::span<const Sentence> sentences, std::size_t known) {
  std::vector<std::size_t> counts(known);
  for (const Sentence& sentence : sentences) {
    for (const std::uint32_t word : sentence) ++counts[word];
  }
  return counts;
}

}  // namespace

Result<double> rouge_l_of_sets(std::u32string_view prediction, std::u32string_view answer) {
  Numbers numbers;
  const auto predicted = dotted_sentences(prediction, numbers);
  const auto wanted = dotted_sentences(answer, numbers);
  if (predicted.empty() || wanted.empty()) return 0.0;
  RESTKV_TRY(check_size(wanted, predicted));
  std::vector<bool> common(numbers.size());
  for (const Sentence& x : wanted) {
    for (const Sentence& y : predicted) {
      visit_common(x, y, Tie::kDropY, [&](std::size_t i) { common[x[i]] = true; });
    }
  }
  const auto shared = static_cast<double>(std::ranges::count(common, true));
  const double precision = shared / static_cast<double>(different_words(predicted, numbers.size()));
  const double recall = shared / static_cast<double>(different_words(wanted, numbers.size()));
  return 2 * precision * recall / (precision + recall + 1e-8);  // the package's own guard
}

Result<double> rouge_l_of_summaries(std::u32string_view prediction, std::u32string_view answer) {
  Numbers numbers;
  const auto predicted = line_sentences(prediction, numbers);
  const auto wanted = line_sentences(answer, numbers);
  RESTKV_TRY(check_size(wanted, predicted));
  auto left_predicted = frequencies(predicted, numbers.size());
  auto left_wanted = frequencies(wanted, numbers.size());
  std::size_t hits = 0;
  for (const Sentence& x : wanted) {
    std::vector<bool> common(x.size());
    for (const Sentence& y : predicted) {
      visit_common(x, y, Tie::kDropX, [&](std::size_t i) { common[i] = true; });
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!common[i] || left_predicted[x[i]] == 0 || left_wanted[x[i]] == 0) continue;
      --left_predicted[x[i]];
      --left_wanted[x[i]];
      ++hits;
    }
  }
  if (hits == 0) return 0.0;
  const double precision = static_cast<double>(hits) / static_cast<double>(words_in(predicted));
  const double recall = static_cast<double>(hits) / static_cast<double>(words_in(wanted));
  return 2 * precision * recall / (precision + recall);
}

}  // namespace restkv
