#pragma once

// Which settings go together, as the checks themselves say: what docs/combinations.md is made of.

#include <cstddef>
#include <string>
#include <vector>

#include "restkv/kv_options.h"
#include "restkv/prefill_attention.h"

namespace restkv {

// What check_combination() looks at, as it would be asked for.
struct Combination {
  KvOptions options;
  PrefillAttention prefill;
};

// A value of a dimension. The first value of each dimension is the usual one.
struct Setting {
  std::string text;  // "tova", "streaming-llm:positions=renumbered", "cap", "q8_0"
  void (*apply)(const Setting& setting, Combination& to) = nullptr;
};
struct Dimension {
  std::string name;  // "schedule"
  std::string flag;  // of the command line: "--kv-schedule"
  std::vector<Setting> settings;
};

// Policies and allocators with each choice and switch that is not their default, schedules,
// granularities, scores of a group, patterns of prefill, ways of decode, types of keys and of
// values.
[[nodiscard]] std::vector<Dimension> combination_dimensions();
// Everything usual but for `choice[d]` of each dimension d. REQUIRES: one index a dimension.
[[nodiscard]] Combination make_combination(const std::vector<Dimension>& dimensions,
                                           const std::vector<std::size_t>& choice);

// A set of settings that is refused while all that is left after taking one of them back to the
// usual is not: the smallest things that do not go together.
struct Refusal {
  std::vector<std::size_t> choice;  // [dimensions], 0 = usual
  std::string message;
};
// All of up to three settings, in order of their dimensions.
[[nodiscard]] std::vector<Refusal> smallest_refusals(const std::vector<Dimension>& dimensions);

}  // namespace restkv
