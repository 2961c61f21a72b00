#pragma once

// What a user asks of the cache of one sequence: which method, how much, in which element type.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/params.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

// How many rows each KV head of each layer may keep, on average over heads and layers.
struct Budget {
  enum class Unit : std::uint8_t { kTokens, kPercent };
  Unit unit = Unit::kTokens;
  double amount = 1024;  // tokens, or percent of the prompt

  // "1024" or "10%". kInvalidArgument for anything else, for 0 and for more than 100 %.
  static Result<Budget> parse(std::string_view text);
  // As parse() reads it.
  [[nodiscard]] std::string text() const;
};

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
  std::uint64_t seed = 0;  // of policies that draw at random
};

// Checks the options against the tables without a model: unknown names, values out of range,
// options that do not go together, a token budget below the protected rows, an odd window where the
// policy needs an even one.
Result<void> check_kv_options(const KvOptions& options);

}  // namespace restkv
