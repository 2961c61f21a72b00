#include "base/aligned.h"

#include <cstdint>
#include <limits>

#include <unistd.h>

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

void drop_pages(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t to_first =
      (page - reinterpret_cast<std::uintptr_t>(bytes.data()) % page) % page;
  if (to_first >= bytes.size()) return;
  const std::size_t whole = (bytes.size() - to_first) / page * page;
  if (whole == 0) return;
  ::madvise(const_cast<std::byte*>(bytes.data()) + to_first,  // NOLINT(*-const-cast): its signature
            whole, MADV_DONTNEED);
}

}  // namespace restkv
