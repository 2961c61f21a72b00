#pragma once

#include <string>

namespace restkv {

// libllama's name of a mixture of weight types ("Q4_K - Medium") by its number, the key
// general.file_type.
[[nodiscard]] std::string file_type_name(int file_type);

}  // namespace restkv
