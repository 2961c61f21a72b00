#include "text/file_type.h"

#include <llama.h>

namespace restkv {

std::string file_type_name(int file_type) {
  const char* const name = llama_ftype_name(static_cast<llama_ftype>(file_type));
  return name == nullptr ? "" : name;
}

}  // namespace restkv
