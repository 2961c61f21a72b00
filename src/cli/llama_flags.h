#pragma once

// Flags that users of llama.cpp know and that have no use here: accepted with a notice where the
// answer is the same without them, else refused with what to do instead.

#include "cli/flags.h"

namespace restkv {

void add_llama_flags(FlagSet& flags);

}  // namespace restkv
