#include "engine/combinations.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "restkv/allocator.h"
#include "restkv/policy.h"
#include "sparse/pattern.h"

namespace restkv {
namespace {

// More than is protected, less than any text that is read to try it.
constexpr double kBudget = 48;
constexpr std::size_t kMostSettings = 3;

// Splits "name:option=value".
std::pair<std::string, std::vector<ParamValues::Assignment>> parts_of(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, {}};
  const std::size_t equals = text.find('=', colon);
  return {text.substr(0, colon),
          {{text.substr(colon + 1, equals - colon - 1), text.substr(equals + 1)}}};
}

void apply_policy(const Setting& setting, Combination& to) {
  auto [name, options] = parts_of(setting.text);
  to.options.policy = std::move(name);
  to.options.policy_options = std::move(options);
}
void apply_allocator(const Setting& setting, Combination& to) {
  auto [name, options] = parts_of(setting.text);
  to.options.allocator = std::move(name);
  to.options.allocator_options = std::move(options);
}
void apply_schedule(const Setting& setting, Combination& to) {
  to.options.schedule = Schedule::parse(setting.text).value();
}
void apply_granularity(const Setting& setting, Combination& to) {
  to.options.granularity = parse_granularity(setting.text).value();
}
void apply_group(const Setting& setting, Combination& to) {
  to.options.group_score = parse_group_score(setting.text).value();
}
void apply_prefill(const Setting& setting, Combination& to) { to.prefill.pattern = setting.text; }
void apply_decode(const Setting& setting, Combination& to) {
  to.options.decode.method = setting.text;
}
void apply_type_k(const Setting& setting, Combination& to) {
  to.options.type_k = kv_type_by_name(setting.text).value_or(KvType::kF16);
}
void apply_type_v(const Setting& setting, Combination& to) {
  to.options.type_v = kv_type_by_name(setting.text).value_or(KvType::kF16);
}

std::vector<std::string> values_of(const ParamInfo& param) {
  if (param.kind == ParamKind::kSwitch) return {"on", "off"};
  std::vector<std::string> values;
  if (param.kind != ParamKind::kChoice) return values;
  std::string_view left = param.choices;
  while (!left.empty()) {
    const std::size_t bar = std::min(left.find('|'), left.size());
    values.emplace_back(left.substr(0, bar));
    left.remove_prefix(std::min(bar + 1, left.size()));
  }
  return values;
}

// An entry of a table, and it with each choice that is not its default.
template <typename Info>
void add_with_choices(const Info& info, void (*apply)(const Setting&, Combination&),
                      std::vector<Setting>& to) {
  const std::string name(info.name);
  to.push_back({.text = name, .apply = apply});
  for (const ParamInfo& param : info.params) {
    for (const std::string& value : values_of(param)) {
      if (value == param.default_value) continue;
      to.push_back({.text = name + ":" + std::string(param.name) + "=" + value, .apply = apply});
    }
  }
}

// A whole table, the usual entry first.
template <typename Info>
std::vector<Setting> with_choices(std::span<const Info* const> table, std::string_view usual,
                                  void (*apply)(const Setting&, Combination&)) {
  std::vector<Setting> settings;
  for (const bool usual_ones : {true, false}) {
    for (const Info* info : table) {
      if ((info->name == usual) == usual_ones) add_with_choices(*info, apply, settings);
    }
  }
  return settings;
}

template <typename Info>
std::vector<Setting> named(std::span<const Info* const> table, std::string_view usual,
                           void (*apply)(const Setting&, Combination&)) {
  std::vector<Setting> settings = {{.text = std::string(usual), .apply = apply}};
  for (const Info* info : table) {
    if (info->name != usual) settings.push_back({.text = std::string(info->name), .apply = apply});
  }
  return settings;
}

std::vector<Setting> types(void (*apply)(const Setting&, Combination&)) {
  std::vector<Setting> settings;
  for (const KvType type :
       {KvType::kF16, KvType::kF32, KvType::kBf16, KvType::kQ8_0, KvType::kQ4_0}) {
    settings.push_back({.text = std::string(kv_type_name(type)), .apply = apply});
  }
  return settings;
}

// Looks at every choice of up to `left` settings of the dimensions from `from` on.
class Search {
 public:
  explicit Search(const std::vector<Dimension>& dimensions) : dimensions_(dimensions) {}

  std::vector<Refusal> run() {
    std::vector<std::size_t> choice(dimensions_.size(), 0);
    for (std::size_t settings = 1; settings <= kMostSettings; ++settings) {
      visit(choice, /*from=*/0, settings);
    }
    return std::move(found_);
  }

 private:
  void visit(std::vector<std::size_t>& choice, std::size_t from, std::size_t left) {
    if (left == 0) return look_at(choice);
    for (std::size_t d = from; d < dimensions_.size(); ++d) {
      for (std::size_t i = 1; i < dimensions_[d].settings.size(); ++i) {
        choice[d] = i;
        visit(choice, d + 1, left - 1);
      }
      choice[d] = 0;
    }
  }
  void look_at(const std::vector<std::size_t>& choice) {
    const auto is_part = [&](const Refusal& smaller) {
      for (std::size_t d = 0; d < choice.size(); ++d) {
        if (smaller.choice[d] != 0 && smaller.choice[d] != choice[d]) return false;
      }
      return true;
    };
    if (std::ranges::any_of(found_, is_part)) return;
    const Combination made = make_combination(dimensions_, choice);
    auto fits = check_combination(made.options, made.prefill);
    if (!fits.ok()) found_.push_back({.choice = choice, .message = fits.error().message});
  }

  const std::vector<Dimension>& dimensions_;
  std::vector<Refusal> found_;
};

}  // namespace

std::vector<Dimension> combination_dimensions() {
  std::vector<Setting> schedules;
  for (const char* text : {"once", "every:8", "cap", "chunk:64"}) {
    schedules.push_back({.text = text, .apply = apply_schedule});
  }
  return {
      {.name = "policy",
       .flag = "--kv-policy",
       .settings = with_choices(all_policies(), KvOptions{}.policy, apply_policy)},
      {.name = "allocator",
       .flag = "--kv-alloc",
       .settings = with_choices(all_allocators(), KvOptions{}.allocator, apply_allocator)},
      {.name = "schedule", .flag = "--kv-schedule", .settings = std::move(schedules)},
      {.name = "granularity",
       .flag = "--kv-granularity",
       .settings = {{.text = "kv-head", .apply = apply_granularity},
                    {.text = "query-head", .apply = apply_granularity}}},
      {.name = "group",
       .flag = "--kv-group",
       .settings = {{.text = "mean", .apply = apply_group}, {.text = "max", .apply = apply_group}}},
      {.name = "prefill",
       .flag = "--prefill",
       .settings = named(all_patterns(), "dense", apply_prefill)},
      {.name = "decode attention",
       .flag = "--decode-attn",
       .settings = named(all_decode_methods(), "dense", apply_decode)},
      {.name = "keys", .flag = "-ctk", .settings = types(apply_type_k)},
      {.name = "values", .flag = "-ctv", .settings = types(apply_type_v)},
  };
}

Combination make_combination(const std::vector<Dimension>& dimensions,
                             const std::vector<std::size_t>& choice) {
  Combination made;
  made.options.budget = {.unit = Budget::Unit::kTokens, .amount = kBudget};
  for (std::size_t d = 0; d < dimensions.size(); ++d) {
    const Setting& setting = dimensions[d].settings[choice[d]];
    setting.apply(setting, made);
  }
  return made;
}

std::vector<Refusal> smallest_refusals(const std::vector<Dimension>& dimensions) {
  return Search(dimensions).run();
}

}  // namespace restkv
