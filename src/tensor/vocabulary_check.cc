#include "tensor/vocabulary_check.h"

namespace restkv {

Result<void> check_vocabulary_keys(const GgufFile& file) {
  (void)file;
  return {};
}

}  // namespace restkv
