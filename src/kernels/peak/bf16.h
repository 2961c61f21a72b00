#pragma once

// bf16 products of 512-bit vectors and of AMX tiles: x86 only, empty elsewhere.

#include <span>

#include "kernels/peak.h"

namespace restkv {

// The loops that both processor and operating system allow.
std::span<const MultiplyLoop> bf16_loops();

}  // namespace restkv
