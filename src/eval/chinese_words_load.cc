// Reads the files of the Python package jieba.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <sstream>

#include "eval/chinese_words.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

constexpr double kNever = -3.14e100;  // jieba's logarithm of 0

Error corrupt(const std::string& path, std::size_t line, const std::string& what) {
  return {ErrorCode::kCorrupt, path + ":" + std::to_string(line) + ": " + what};
}

Result<std::string> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) {
    return Error{ErrorCode::kNotFound,
                 path + " cannot be read; it belongs to the Debian package python3-jieba"};
  }
  return bytes.str();
}

// One number of a Python dictionary, and the keys that lead to it: {'B': {'x': 0.5}} -> B, x, 0.5.
struct Entry {
  std::vector<std::u32string> keys;
  double value = 0;
};

// Reads `P={...}`: dictionaries of at most two levels whose keys are strings and whose leaves are
// numbers.
class LiteralReader {
 public:
  LiteralReader(std::string path, std::string_view text) : path_(std::move(path)), text_(text) {}

  Result<void> read(const std::function<void(const Entry&)>& take) {
    at_ = text_.find("P={");
    if (at_ == std::string_view::npos) return wrong("has no P={");
    at_ += 2;
    Entry entry;
    return read_dictionary(entry, take);
  }

 private:
  Result<void> read_dictionary(Entry& entry, const std::function<void(const Entry&)>& take) {
    ++at_;  // the brace
    while (!accept('}')) {
      RESTKV_ASSIGN(const std::u32string key, read_key());
      if (!accept(':')) return wrong("':' expected");
      entry.keys.push_back(key);
      if (peek() == '{' && entry.keys.size() < 2) {
        RESTKV_TRY(read_dictionary(entry, take));
      } else {
        RESTKV_TRY(read_number(entry.value));
        take(entry);
      }
      entry.keys.pop_back();
      if (!accept(',') && peek() != '}') return wrong("',' or '}' expected");
    }
    return {};
  }

  // A string in single quotes; \uXXXX is a character.
  Result<std::u32string> read_key() {
    if (!accept('\'')) return wrong("a string expected");
    const std::size_t end = text_.find('\'', at_);
    if (end == std::string_view::npos) return wrong("a string without an end");
    const std::string_view raw = text_.substr(at_, end - at_);
    at_ = end + 1;
    if (!raw.starts_with("\\u")) return code_points(raw);
    std::uint32_t code = 0;
    const auto [stop, error] = std::from_chars(raw.data() + 2, raw.data() + raw.size(), code, 16);
    if (error != std::errc() || stop != raw.data() + raw.size()) return wrong("a wrong escape");
    return std::u32string(1, static_cast<char32_t>(code));
  }

  Result<void> read_number(double& value) {
    peek();
    const auto [stop, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || !std::isfinite(value)) return wrong("a number expected");
    at_ = static_cast<std::size_t>(stop - text_.data());
    return {};
  }

  // The next character that is no white space; 0 at the end.
  char peek() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char wanted) {
    const bool here = peek() == wanted;
    if (here) ++at_;
    return here;
  }

  [[nodiscard]] Error wrong(const std::string& what) const {
    const auto before = text_.substr(0, std::min(at_, text_.size()));
    const auto line = 1 + static_cast<std::size_t>(std::ranges::count(before, '\n'));
    return corrupt(path_, line, what);
  }

  std::string path_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<ChineseWords> ChineseWords::load(const std::string& folder) {
  ChineseWords words;
  RESTKV_TRY(words.read_dictionary(folder + "/dict.txt"));
  RESTKV_TRY(words.read_model(folder + "/finalseg"));
  return words;
}

// Lines of "word frequency tag".
Result<void> ChineseWords::read_dictionary(const std::string& path) {
  RESTKV_ASSIGN(const std::string text, bytes_of(path));
  std::uint64_t total = 0;
  std::size_t number = 0;
  frequencies_.reserve(600'000);
  for (std::string_view rest = text; !rest.empty();) {
    ++number;
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t blank = line.find(' ');
    std::uint64_t frequency = 0;
    if (blank == std::string_view::npos || blank == 0) {
      return corrupt(path, number, "no 'word frequency'");
    }
    const char* const begin = line.data() + blank + 1;
    const auto parsed = std::from_chars(begin, line.data() + line.size(), frequency);
    if (parsed.ec != std::errc() || frequency > std::numeric_limits<std::uint32_t>::max()) {
      return corrupt(path, number, "no frequency behind the word");
    }
    const std::string_view word = line.substr(0, blank);
    frequencies_.insert_or_assign(std::string(word), frequency);
    total += frequency;
    for (std::size_t i = 1; i < word.size(); ++i) {
      const bool is_border = (static_cast<unsigned char>(word[i]) & 0xC0U) != 0x80U;
      if (is_border) frequencies_.try_emplace(std::string(word.substr(0, i)), 0);
    }
  }
  if (total == 0) return corrupt(path, number, "no word has a frequency");
  log_total_ = std::log(static_cast<double>(total));
  return {};
}

Result<void> ChineseWords::read_model(const std::string& folder) {
  const auto state_of = [](const std::u32string& name) -> std::optional<std::size_t> {
    const std::size_t at = std::u32string_view(U"BEMS").find(name);
    return name.size() == 1 && at != std::u32string_view::npos ? std::optional(at) : std::nullopt;
  };
  const auto read =
      [&](const std::string& name, std::size_t depth,
          const std::function<bool(const Entry&, std::size_t)>& take) -> Result<void> {
    const std::string path = folder + "/" + name;
    RESTKV_ASSIGN(const std::string text, bytes_of(path));
    std::size_t taken = 0;
    bool right = true;
    RESTKV_TRY(LiteralReader(path, text).read([&](const Entry& entry) {
      const auto state = state_of(entry.keys.front());
      right = right && state && entry.keys.size() == depth && take(entry, *state);
      ++taken;
    }));
    if (!right || taken == 0) return corrupt(path, 1, "not the table of a model");
    return {};
  };
  start_.fill(kNever);
  for (Row& row : transition_) row.fill(kNever);
  RESTKV_TRY(read("prob_start.py", 1, [&](const Entry& entry, std::size_t state) {
    start_[state] = entry.value;
    return true;
  }));
  RESTKV_TRY(read("prob_trans.py", 2, [&](const Entry& entry, std::size_t state) {
    const auto next = state_of(entry.keys[1]);
    if (next) transition_[state][*next] = entry.value;
    return next.has_value();
  }));
  return read("prob_emit.py", 2, [&](const Entry& entry, std::size_t state) {
    if (entry.keys[1].size() != 1) return false;
    const auto never = Row{kNever, kNever, kNever, kNever};
    emission_.try_emplace(entry.keys[1].front(), never).first->second[state] = entry.value;
    return true;
  });
}

}  // namespace restkv
