#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace restkv {

// The tables of operations that Highway compiled for instruction sets of this machine's family and
// that this machine can run, slowest first.
std::span<const KernelTable> highway_tables();

// A table as it was compiled, whether or not this machine has all that it needs: for tests that
// stand in for what is missing.
std::optional<KernelTable> compiled_table(std::string_view name);

}  // namespace restkv
