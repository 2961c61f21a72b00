#pragma once

// A model family is a description: one file in families/ that says how its forward pass differs
// from the common one. To add one: CONTRIBUTING.md, "A new model family".

#include <span>
#include <string_view>

#include "model/config.h"
#include "restkv/result.h"
#include "tensor/gguf_file.h"

namespace restkv {

struct FamilyInfo {
  std::string_view name;     // general.architecture in the GGUF file
  std::string_view summary;  // which models, one line
  // Fills what the family decides. The sizes, the norm's epsilon, RoPE base and scaling are already
  // read; `config.layers` has n_layer entries that see everything.
  Result<void> (*configure)(const GgufFile& file, ModelConfig& config) = nullptr;
};

// All families, sorted by name. Generated from the files of src/model/families.
std::span<const FamilyInfo* const> all_families();

}  // namespace restkv
