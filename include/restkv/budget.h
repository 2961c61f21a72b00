#pragma once

// An amount of rows: so many tokens, or so many percent of something that its user names.

#include <cstdint>
#include <string>
#include <string_view>

#include "restkv/result.h"

namespace restkv {

// How many rows each KV head of each layer may keep, on average over heads and layers (each query
// head, where these have sets of their own); in decode, how many it reads in a step.
struct Budget {
  enum class Unit : std::uint8_t { kTokens, kPercent };
  Unit unit = Unit::kTokens;
  double amount = 1024;  // tokens, or percent of the prompt

  // "1024" or "10%". kInvalidArgument for anything else, for 0 and for more than 100 %.
  static Result<Budget> parse(std::string_view text);
  // As parse() reads it.
  [[nodiscard]] std::string text() const;
};

}  // namespace restkv
