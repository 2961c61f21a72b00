#pragma once

// Numbers and variants drawn by a seed, for tests that try thousands of them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/combinations.h"
#include "engine/variant.h"
#include "model/config.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {

struct Draws {
  std::uint64_t state = 0;

  // From `least` to `most`.
  std::size_t number(std::size_t least, std::size_t most) {
    return least + next_random(state) % (most - least + 1);
  }
  template <typename T>
  const T& one_of(const std::vector<T>& list) {
    return list[number(0, list.size() - 1)];
  }
  float real() { return static_cast<float>(next_random(state) >> 40U) * 0x1p-22F - 2.0F; }
  std::vector<float> reals(std::size_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = real();
    return values;
  }
};

// Of every dimension a setting, but for those that tests make themselves. What many others do not
// go with is drawn less often, or little else would be left.
inline KvOptions random_settings(Draws& draws) {
  static const std::vector<Dimension> kDimensions = combination_dimensions();
  static const std::vector<std::string> kRare = {"granularity", "group", "decode attention"};
  Combination made;
  for (const Dimension& dimension : kDimensions) {
    if (dimension.name == "schedule" || dimension.name == "prefill") continue;
    const bool rare = std::ranges::find(kRare, dimension.name) != kRare.end();
    if (rare && draws.number(0, 2) > 0) continue;
    const Setting& setting = draws.one_of(dimension.settings);
    setting.apply(setting, made);
  }
  return made.options;
}

// Whole numbers near the least that an option takes, so that a hundred rows go ways for which the
// published ones want thousands; of real ones the least and up to 8 more, in quarters. Each is left
// out at times.
inline void draw_numbers(Draws& draws, std::span<const ParamInfo> params,
                         std::vector<ParamValues::Assignment>& to) {
  for (const ParamInfo& param : params) {
    if (draws.number(0, 2) == 0) continue;
    if (param.kind == ParamKind::kInteger) {
      const auto least = static_cast<std::size_t>(param.min);
      to.emplace_back(param.name, std::to_string(least + draws.number(0, draws.number(0, 12))));
    } else if (param.kind == ParamKind::kNumber) {
      const double range = std::min(param.max - param.min, 8.0);
      const double value = param.min + range / 4 * static_cast<double>(draws.number(0, 4));
      to.emplace_back(param.name, std::to_string(value));
    }
  }
}

// A variant for models of such layers, with budgets, windows and blocks small enough for a few
// hundred rows; what its schedule does, it does within `most_steps` steps.
inline std::shared_ptr<const Variant> random_variant(Draws& draws, const ModelConfig& config,
                                                     std::size_t most_steps) {
  std::vector<int> sliding_windows;
  for (int layer = 0; layer < config.n_layer; ++layer) {
    sliding_windows.push_back(config.attention_rule(layer).sliding_window);
  }
  while (true) {
    KvOptions options = random_settings(draws);
    draw_numbers(draws, find_policy(options.policy)->params, options.policy_options);
    draw_numbers(draws, find_allocator(options.allocator)->params, options.allocator_options);
    options.window = static_cast<int>(draws.number(1, 8));
    options.sinks = static_cast<int>(draws.number(0, 4));
    options.protect = draws.number(0, 2) == 0 ? Protect::kPaper : Protect::kDefault;
    options.budget = {.unit = Budget::Unit::kTokens,
                      .amount = static_cast<double>(draws.number(1, 40))};
    if (draws.number(0, 2) == 0) options.budget.unit = Budget::Unit::kPercent;
    options.seed = draws.number(0, 99);
    const std::string every = "every:" + std::to_string(draws.number(1, most_steps));
    options.schedule =
        Schedule::parse(draws.one_of(std::vector<std::string>{"once", "cap", "cap", every, every}))
            .value();
    if (options.decode.method != "dense") {
      options.decode.budget = {.unit = Budget::Unit::kTokens,
                               .amount = static_cast<double>(draws.number(1, 64))};
      options.decode.method_options = {
          {"dense-layers", std::to_string(draws.number(0, 1))},
          {"block", draws.one_of(std::vector<std::string>{"16", "32", "64", "128"})},
          {"summaries", draws.one_of(std::vector<std::string>{"f16", "int8", "int4"})}};
    }
    auto variant = Variant::make(options);
    if (variant.ok() && (*variant)->check_model(sliding_windows).ok()) return *variant;
  }
}

}  // namespace restkv
