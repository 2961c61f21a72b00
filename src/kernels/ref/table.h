#pragma once

#include "kernels/kernels.h"

namespace restkv {

// Plain loops, always built: the definition of what every other table must compute.
const KernelTable& ref_table();

}  // namespace restkv
