#pragma once

// Products of 8-bit integers, as packed products use them: x86 only, empty elsewhere.

#include <span>

#include "kernels/peak.h"

namespace restkv {

// The loops that the processor allows, slowest first.
std::span<const MultiplyLoop> int8_loops();

}  // namespace restkv
