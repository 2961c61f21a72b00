#pragma once

// What has to be said of a method's results beside its name.

#include <string_view>

namespace restkv {

// The schedule reads a prompt in pieces (chunk:N) and the policy drops rows, so later pieces saw
// what was left of the earlier ones: the answer is not the method's own. The names are those of
// reports; unknown ones are taken for what drops rows, and for what reads prompts whole.
[[nodiscard]] bool is_approximation(std::string_view policy, std::string_view schedule);

}  // namespace restkv
