#include "eval/chinese_words.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "eval/unicode_text.h"

namespace restkv {
namespace {

constexpr double kNever = -3.14e100;

bool is_alphanumeric(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_chinese(char32_t c) { return c >= 0x4E00 && c <= 0x9FD5; }

// What the dictionary is asked about; everything else stands alone.
bool is_in_words(char32_t c) {
  return is_chinese(c) || is_alphanumeric(c) ||
         std::u32string_view(U"+#&._%-").find(c) != std::u32string_view::npos;
}

}  // namespace

// Cuts one text. Positions are indices of characters; piece [begin, end) goes to pieces_.
class ChineseWords::Cutter {
 public:
  Cutter(const ChineseWords& words, const Characters& text) : words_(words), text_(text) {}

  std::vector<std::string> cut() {
    const std::size_t size = text_.codes.size();
    for (std::size_t i = 0; i < size;) {
      std::size_t end = i;
      while (end < size && is_in_words(text_.codes[end])) ++end;
      if (end > i) {
        cut_block(i, end);
        i = end;
      } else {  // one character, but a line feed stays with its carriage return
        const bool line_end = text_.codes[i] == '\r' && i + 1 < size && text_.codes[i + 1] == '\n';
        add(i, i + (line_end ? 2 : 1));
        i += line_end ? 2 : 1;
      }
    }
    return std::move(pieces_);
  }

 private:
  void add(std::size_t begin, std::size_t end) { pieces_.emplace_back(text_.slice(begin, end)); }

  std::uint64_t frequency(std::size_t begin, std::size_t end) const {
    const auto found = words_.frequencies_.find(text_.slice(begin, end));
    return found == words_.frequencies_.end() ? 0 : found->second;
  }

  // The most probable way through the words of the dictionary. Single characters that follow each
  // other are collected and cut again.
  void cut_block(std::size_t begin, std::size_t end) {
    const std::vector<std::size_t> ends = best_ends(begin, end);
    std::size_t singles = begin;  // [singles, i) are single characters that wait
    for (std::size_t i = begin; i < end;) {
      const std::size_t next = ends[i - begin];
      if (next - i > 1) {
        cut_singles(singles, i);
        add(i, next);
        singles = next;
      }
      i = next;
    }
    cut_singles(singles, end);
  }

  // [end - begin]: where the best word that begins at each character ends. Of equally good ones the
  // longest.
  std::vector<std::size_t> best_ends(std::size_t begin, std::size_t end) const {
    std::vector<std::size_t> ends(end - begin);
    std::vector<double> best(end - begin + 1, 0.0);  // log probability of what follows
    for (std::size_t i = end; i-- > begin;) {
      bool any = false;
      const auto offer = [&](std::size_t stop, std::uint64_t count) {
        const double value =
            std::log(static_cast<double>(count)) - words_.log_total_ + best[stop - begin];
        if (any && value < best[i - begin]) return;
        any = true;
        best[i - begin] = value;
        ends[i - begin] = stop;
      };
      for (std::size_t stop = i + 1; stop <= end; ++stop) {
        const auto found = words_.frequencies_.find(text_.slice(i, stop));
        if (found == words_.frequencies_.end()) break;
        if (found->second > 0) offer(stop, found->second);
      }
      if (!any) offer(i + 1, 1);
    }
    return ends;
  }

  void cut_singles(std::size_t begin, std::size_t end) {
    if (end - begin > 1 && frequency(begin, end) == 0) {
      cut_unknown(begin, end);
      return;
    }
    for (std::size_t i = begin; i < end; ++i) add(i, i + 1);
  }

  // Chinese characters by the model; runs of letters and digits, also 3.14 and 50%, stay whole; so
  // does whatever stands between them.
  void cut_unknown(std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end;) {
      const std::size_t first = i;
      while (i < end && is_chinese(text_.codes[i])) ++i;
      if (i > first) {
        cut_by_model(first, i);
        continue;
      }
      i = number_end(i, end);
      if (i == first) {
        while (i < end && !is_chinese(text_.codes[i]) && !is_alphanumeric(text_.codes[i])) ++i;
      }
      add(first, i);
    }
  }

  // The end of [a-zA-Z0-9]+(\.[0-9]+)?%? at i; i when there is none.
  std::size_t number_end(std::size_t i, std::size_t end) const {
    const auto& codes = text_.codes;
    const std::size_t first = i;
    while (i < end && is_alphanumeric(codes[i])) ++i;
    if (i == first) return i;
    const auto is_digit = [](char32_t c) { return c >= '0' && c <= '9'; };
    if (i + 1 < end && codes[i] == '.' && is_digit(codes[i + 1])) {
      for (++i; i < end && is_digit(codes[i]);) ++i;
    }
    return i < end && codes[i] == '%' ? i + 1 : i;
  }

  const Row& emission(std::size_t i) const {
    static constexpr Row kUnseen = {kNever, kNever, kNever, kNever};
    const auto found = words_.emission_.find(text_.codes[i]);
    return found == words_.emission_.end() ? kUnseen : found->second;
  }

  // Viterbi's algorithm. A tie goes to the state whose letter is the later one.
  void cut_by_model(std::size_t begin, std::size_t end) {
    static constexpr std::pair<State, State> kBefore[kStates] = {// of B, E, M, S
                                                                 {kEnd, kSingle},
                                                                 {kBegin, kMiddle},
                                                                 {kBegin, kMiddle},
                                                                 {kEnd, kSingle}};
    const std::size_t size = end - begin;
    std::vector<std::array<State, kStates>> from(size);
    Row now = emission(begin);
    for (std::size_t s = 0; s < kStates; ++s) now[s] = words_.start_[s] + now[s];
    for (std::size_t i = 1; i < size; ++i) {
      const Row& emitted = emission(begin + i);
      Row next{};
      for (std::size_t s = 0; s < kStates; ++s) {
        const auto [a, b] = kBefore[s];
        const double via_a = now[a] + words_.transition_[a][s] + emitted[s];
        const double via_b = now[b] + words_.transition_[b][s] + emitted[s];
        from[i][s] = via_a > via_b ? a : b;
        next[s] = std::max(via_a, via_b);
      }
      now = next;
    }
    std::vector<State> states(size);
    states.back() = now[kEnd] > now[kSingle] ? kEnd : kSingle;
    for (std::size_t i = size - 1; i > 0; --i) states[i - 1] = from[i][states[i]];
    std::size_t first = begin;
    for (std::size_t i = 0; i < size; ++i) {
      if (states[i] != kEnd && states[i] != kSingle) continue;
      add(first, begin + i + 1);
      first = begin + i + 1;
    }
  }

  const ChineseWords& words_;
  const Characters& text_;
  std::vector<std::string> pieces_;
};

std::vector<std::string> ChineseWords::cut(std::string_view text) const {
  Characters characters{.bytes = {}, .starts = {}, .codes = code_points(text)};
  const std::string bytes = utf8_text(characters.codes);
  characters.bytes = bytes;
  characters.starts.reserve(characters.codes.size() + 1);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if ((static_cast<unsigned char>(bytes[i]) & 0xC0U) != 0x80U) characters.starts.push_back(i);
  }
  characters.starts.push_back(bytes.size());
  return Cutter(*this, characters).cut();
}

}  // namespace restkv
