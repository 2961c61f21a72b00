#pragma once

// What a user asks of the cache of one sequence: which method, how much, in which element type.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "restkv/budget.h"
#include "restkv/decode_options.h"
#include "restkv/params.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

enum class Protect : std::uint8_t {
  kDefault,  // the sinks and the observation window
  kPaper,    // exactly what the method's publication protects
};

struct KvOptions {
  std::string policy = "rest-kv";
  std::vector<ParamValues::Assignment> policy_options;
  std::string allocator = "uniform";
  std::vector<ParamValues::Assignment> allocator_options;
  Budget budget;
  int window = 32;  // newest tokens whose queries are observed, and that are protected
  int sinks = 4;    // first positions that are protected
  Protect protect = Protect::kDefault;
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  std::uint64_t seed = 0;     // of policies that draw at random
  DecodeOptions decode = {};  // what a step reads of what is held
};

// Checks the options against the tables without a model: unknown names, values out of range,
// options that do not go together, a token budget below the protected rows, an odd window where the
// policy needs an even one.
Result<void> check_kv_options(const KvOptions& options);

}  // namespace restkv
