#pragma once

// Chinese text has no blanks between words. This cuts it as the Python package jieba does in its
// precise mode, because LongBench scores Chinese answers by jieba's words.

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "restkv/result.h"

namespace restkv {

// Words known to a dictionary are chosen so that the product of their frequencies is largest; what
// remains in single characters goes through a hidden Markov model whose states say where in a word
// a character stands (jieba 0.42.1, HMM on). Immutable once loaded: several threads may cut at
// once.
class ChineseWords {
 public:
  // Where Debian's package python3-jieba puts its files.
  static constexpr std::string_view kInstalledFolder = "/usr/lib/python3/dist-packages/jieba";

  // Reads dict.txt and finalseg/prob_{start,trans,emit}.py below the folder: 6 MB, under a second.
  // kNotFound names the file and the package; kCorrupt names file and line.
  static Result<ChineseWords> load(const std::string& folder);

  // The pieces of a text, in order; together they are the text, with U+FFFD for what is no UTF-8.
  // Every white-space and punctuation character outside words is a piece of its own.
  [[nodiscard]] std::vector<std::string> cut(std::string_view text) const;

 private:
  enum State : std::uint8_t {
    kBegin,
    kEnd,
    kMiddle,
    kSingle,
    kStates
  };  // in order of their letters
  using Row = std::array<double, kStates>;

  struct Hash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };

  // Characters of one text: character i is bytes [starts[i], starts[i + 1]).
  struct Characters {
    std::string_view bytes;
    std::vector<std::size_t> starts;
    std::u32string codes;
    [[nodiscard]] std::string_view slice(std::size_t begin, std::size_t end) const {
      return bytes.substr(starts[begin], starts[end] - starts[begin]);
    }
  };
  class Cutter;

  Result<void> read_dictionary(const std::string& path);
  Result<void> read_model(const std::string& folder);

  // Word -> frequency; every beginning of a word is there too, with 0 if it is no word itself.
  std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>> frequencies_;
  double log_total_ = 0;  // of the frequencies
  Row start_{};           // logarithms of probabilities
  std::array<Row, kStates> transition_{};
  std::unordered_map<char32_t, Row> emission_;
};

}  // namespace restkv
