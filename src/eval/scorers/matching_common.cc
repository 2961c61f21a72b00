#include "eval/scorers/matching_common.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace restkv {
namespace {

constexpr std::size_t kMostCells = std::size_t{1} << 24;
constexpr std::size_t kLongText =
    200;  // difflib's; from here on frequent characters are passed over

Result<void> check_size(std::u32string_view a, std::u32string_view b) {
  if (a.empty() || b.size() <= kMostCells / a.size()) return {};
  return Error{ErrorCode::kUnsupported, "lines of " + std::to_string(a.size()) + " and " +
                                            std::to_string(b.size()) +
                                            " characters are too long to be compared"};
}

double ratio_of(std::size_t matches, std::u32string_view a, std::u32string_view b) {
  const std::size_t total = a.size() + b.size();
  return total == 0 ? 1.0 : 2.0 * static_cast<double>(matches) / static_cast<double>(total);
}

// a[a_begin, a_end) against b[b_begin, b_end).
struct Range {
  std::size_t a_begin = 0;
  std::size_t a_end = 0;
  std::size_t b_begin = 0;
  std::size_t b_end = 0;
};

struct Block {
  std::size_t a = 0;
  std::size_t b = 0;
  std::size_t size = 0;
};

class BlockMatcher {
 public:
  BlockMatcher(std::u32string_view a, std::u32string_view b) : a_(a), b_(b), runs_(b.size()) {
    for (std::size_t j = 0; j < b.size(); ++j) seeds_[b[j]].push_back(j);
    if (b.size() < kLongText) return;
    const std::size_t most = b.size() / 100 + 1;
    std::erase_if(seeds_, [&](const auto& entry) { return entry.second.size() > most; });
  }

  std::size_t matching_characters() {
    std::size_t matches = 0;
    std::vector<Range> open = {{0, a_.size(), 0, b_.size()}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Block block = longest_block(range);
      if (block.size == 0) continue;
      matches += block.size;
      open.push_back({range.a_begin, block.a, range.b_begin, block.b});
      open.push_back({block.a + block.size, range.a_end, block.b + block.size, range.b_end});
    }
    return matches;
  }

 private:
  // The longest block that seeds make, the first one in a and then in b, grown by whatever is equal
  // on both sides of it.
  Block longest_block(const Range& range) {
    Block best{range.a_begin, range.b_begin, 0};
    std::span<const std::size_t> previous;  // where runs_ is set, all of them ends of runs
    for (std::size_t i = range.a_begin; i < range.a_end; ++i) {
      const auto found = seeds_.find(a_[i]);
      const std::span<const std::size_t> places =
          found == seeds_.end() ? std::span<const std::size_t>() : found->second;
      std::vector<std::pair<std::size_t, std::size_t>>& lengths = lengths_;
      lengths.clear();
      for (const std::size_t j : places) {
        if (j < range.b_begin || j >= range.b_end) continue;
        const std::size_t length = (j > range.b_begin ? runs_[j - 1] : 0) + 1;
        lengths.emplace_back(j, length);
        if (length > best.size) best = {i + 1 - length, j + 1 - length, length};
      }
      for (const std::size_t j : previous) runs_[j] = 0;
      for (const auto& [j, length] : lengths) runs_[j] = length;
      previous = places;
    }
    for (const std::size_t j : previous) runs_[j] = 0;
    grow(best, range);
    return best;
  }

  void grow(Block& block, const Range& range) const {
    while (block.a > range.a_begin && block.b > range.b_begin &&
           a_[block.a - 1] == b_[block.b - 1]) {
      --block.a, --block.b, ++block.size;
    }
    while (block.a + block.size < range.a_end && block.b + block.size < range.b_end &&
           a_[block.a + block.size] == b_[block.b + block.size]) {
      ++block.size;
    }
  }

  std::u32string_view a_;
  std::u32string_view b_;
  std::unordered_map<char32_t, std::vector<std::size_t>> seeds_;  // character -> places in b
  std::vector<std::size_t> runs_;  // [|b|]: length of the run that ends there and at the last of a
  std::vector<std::pair<std::size_t, std::size_t>> lengths_;  // scratch: (place, length)
};

}  // namespace

Result<double> difflib_ratio(std::u32string_view a, std::u32string_view b) {
  RESTKV_TRY(check_size(a, b));
  return ratio_of(BlockMatcher(a, b).matching_characters(), a, b);
}

Result<double> subsequence_ratio(std::u32string_view a, std::u32string_view b) {
  RESTKV_TRY(check_size(a, b));
  std::vector<std::size_t> row(b.size() + 1);
  for (const char32_t c : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = c == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return ratio_of(row.back(), a, b);
}

}  // namespace restkv
