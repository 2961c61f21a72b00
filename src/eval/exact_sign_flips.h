#pragma once

// The distribution of a sum whose parts have random signs, where it can be counted.

#include <optional>
#include <span>

namespace restkv {

// Share of all 2^n patterns of signs under which the sum is at least as far from 0 as it is.
// Nothing when the parts are not multiples of a common step (to a few parts in a billion), or are
// so many steps together that counting would take longer than about 0.1 s. At least 1e-300.
// REQUIRES: at least one part; all finite, none 0
[[nodiscard]] std::optional<double> exact_sign_flip_p_value(std::span<const double> parts);

}  // namespace restkv
