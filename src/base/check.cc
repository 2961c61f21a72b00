#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace restkv {

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "restkv: a bug of ours: %s:%d: %s does not hold\n", file, line, condition);
  std::abort();
}

}  // namespace restkv
