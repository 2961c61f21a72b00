#include "base/aligned.h"

#include <limits>

#if defined(__has_feature)  // Clang
#if __has_feature(address_sanitizer)
#define RESTKV_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)  // GCC
#define RESTKV_ADDRESS_SANITIZER
#endif

namespace restkv {

std::size_t mapped_from() {
#ifdef RESTKV_ADDRESS_SANITIZER
  return std::numeric_limits<std::size_t>::max();
#else
  return std::size_t{1} << 20;
#endif
}

}  // namespace restkv
