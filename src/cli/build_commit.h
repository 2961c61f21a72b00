#pragma once

namespace restkv {

// The commit that the program was built from, short, with "-dirty" behind it where files had
// changed; "unknown" without git. Written at every build (cmake/build_commit.cmake).
[[nodiscard]] const char* build_commit();

}  // namespace restkv
