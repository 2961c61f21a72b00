#pragma once

// Which prompts of a run share what they begin with: few-shot examples, the head of a haystack, a
// system part.

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "restkv/types.h"

namespace restkv {

// Prompts that follow one another and begin with the same `tokens` tokens; 0 where sharing saves
// nothing.
struct PrefixGroup {
  std::size_t first = 0;  // prompt
  std::size_t count = 0;  // at least 1
  std::size_t tokens = 0;
};

// Every prompt is in one group, in their order. A prompt joins the group before it unless that
// would shorten what is shared so much that less is saved than without it. shareable: how many of
// so many leading tokens may be shared (Engine::shareable_tokens()).
std::vector<PrefixGroup> prefix_groups(std::span<const std::span<const Token>> prompts,
                                       const std::function<std::size_t(std::size_t)>& shareable);

}  // namespace restkv
