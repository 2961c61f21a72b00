#include "eval/prefix_groups.h"

#include <algorithm>

namespace restkv {
namespace {

// Tokens that both begin with, at most `most`.
std::size_t common_tokens(std::span<const Token> first, std::span<const Token> second,
                          std::size_t most) {
  const std::size_t reach = std::min({first.size(), second.size(), most});
  const auto apart = std::ranges::mismatch(first.first(reach), second.first(reach));
  return static_cast<std::size_t>(apart.in1 - first.begin());
}

}  // namespace

std::vector<PrefixGroup> prefix_groups(std::span<const std::span<const Token>> prompts,
                                       const std::function<std::size_t(std::size_t)>& shareable) {
  std::vector<PrefixGroup> groups;
  std::size_t common = 0;  // tokens that all prompts of the last group begin with
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (!groups.empty()) {
      PrefixGroup& group = groups.back();
      const std::size_t with_it = common_tokens(prompts[group.first], prompts[i], common);
      const std::size_t tokens = shareable(with_it);
      // The first prompt of a group is read whole.
      if (tokens > 0 && tokens * group.count >= group.tokens * (group.count - 1)) {
        group.tokens = tokens;
        ++group.count;
        common = with_it;
        continue;
      }
    }
    groups.push_back({.first = i, .count = 1, .tokens = 0});
    common = prompts[i].size();
  }
  return groups;
}

}  // namespace restkv
