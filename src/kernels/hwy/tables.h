#pragma once

#include <span>

#include "kernels/kernels.h"

namespace restkv {

// The tables of operations that Highway compiled for instruction sets of this machine's family and
// that this machine can run, slowest first.
std::span<const KernelTable> highway_tables();

}  // namespace restkv
