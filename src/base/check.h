#pragma once

// Assertions for our own bugs, never for input. RESTKV_CHECK stands at borders and is always on;
// RESTKV_DCHECK stands in loops and is on in Debug builds.

namespace restkv {
[[noreturn]] void check_failed(const char* file, int line, const char* condition);
}  // namespace restkv

#define RESTKV_CHECK(condition)                               \
  do {                                                        \
    if (!(condition)) [[unlikely]]                            \
      ::restkv::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)

#ifdef NDEBUG
#define RESTKV_DCHECK(condition) \
  do {                           \
  } while (false)
#else
#define RESTKV_DCHECK(condition) RESTKV_CHECK(condition)
#endif
