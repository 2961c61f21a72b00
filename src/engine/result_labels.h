#pragma once

// What has to be said of a method's results beside its name.

#include <string_view>

namespace restkv {

// The schedule reads a prompt in pieces (chunk:N) and the policy drops rows, so later pieces saw
// what was left of the earlier ones: the answer is not the method's own. The names are those of
// reports; unknown ones are taken for what drops rows, and for what reads prompts whole.
[[nodiscard]] bool is_approximation(std::string_view policy, std::string_view schedule);

// "per layer", or "for all layers together" where an allocator lets them compete; empty without
// one. Its options may stand behind it: "global:floor=8". Publications do the one or the other:
// PolicyInfo::paper says where ours differs.
[[nodiscard]] std::string_view budgets_label(std::string_view allocator);

// PolicyInfo::paper; empty for an unknown policy.
[[nodiscard]] std::string_view publication_of(std::string_view policy);

}  // namespace restkv
