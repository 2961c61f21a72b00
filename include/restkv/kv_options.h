#pragma once

// What a user asks of the cache of one sequence: which method, how much, in which element type.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "restkv/budget.h"
#include "restkv/decode_options.h"
#include "restkv/granularity.h"
#include "restkv/params.h"
#include "restkv/result.h"
#include "restkv/types.h"

namespace restkv {

// When a method is applied. At the end of every prefill it always is, each turn's included: to all
// rows held, and a percentage is one of all tokens seen. What else:
struct Schedule {
  enum class Kind : std::uint8_t {
    kOnce,   // nothing: rows made while generating stay until the next turn
    kEvery,  // back to the budget after every `interval` generated tokens, seen through the newest
             // window of queries, those of generated tokens included
    kCap,    // after every generated token: never more rows than the budget between two steps, as
             // the allocator rounds it
    kChunk,  // inside a prefill, after every `interval` tokens of it. An approximation: later
             // tokens attend to what is left, and earlier scores have not seen the later queries
  };
  Kind kind = Kind::kOnce;
  std::size_t interval = 0;  // tokens; kEvery and kChunk

  // "once", "every:256", "cap" or "chunk:2048". kInvalidArgument for anything else, and for an
  // interval of 0.
  static Result<Schedule> parse(std::string_view text);
  // As parse() reads it.
  [[nodiscard]] std::string text() const;
  // True when rows may go between two steps of decode.
  [[nodiscard]] bool acts_in_decode() const { return kind == Kind::kEvery || kind == Kind::kCap; }
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
  Schedule schedule;
  Granularity granularity = Granularity::kKvHead;
  GroupScore group_score = GroupScore::kMean;  // with Granularity::kKvHead
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  std::uint64_t seed = 0;     // of policies that draw at random
  DecodeOptions decode = {};  // what a step reads of what is held
};

// kInvalidArgument. Checks the options against the tables without a model: unknown names, values
// out of range, options that do not go together, a token budget below the protected rows, an odd
// window where the policy needs an even one, pieces of a prompt that are shorter than the window, a
// schedule that the policy or the way of decode cannot follow, a granularity or score of a group
// that the policy does not have.
Result<void> check_kv_options(const KvOptions& options);

}  // namespace restkv
