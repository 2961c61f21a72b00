#include "eval/row_choice.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <utility>

namespace restkv {
namespace {

using Prompts = std::set<PromptKey>;

// Those that every variant has of the variants with the most, the full cache apart.
Prompts common_of(const std::map<std::string, Prompts>& answered) {
  std::size_t most = 0;
  for (const auto& [variant, prompts] : answered) {
    if (variant != "full") most = std::max(most, prompts.size());
  }
  Prompts common;
  bool first = true;
  for (const auto& entry : answered) {
    const Prompts& prompts = entry.second;
    if (prompts.size() < most) continue;
    if (std::exchange(first, false)) {
      common = prompts;
    } else {
      std::erase_if(common, [&](const PromptKey& prompt) { return !prompts.contains(prompt); });
    }
  }
  return common;
}

}  // namespace

std::vector<EvalRow> without_repeats(std::vector<EvalRow> rows) {
  const auto prompt = [](const EvalRow& row) {
    return std::tuple(row.fingerprint, row.task, row.length, row.sample, row.prompt_hash);
  };
  // By prompt and variant: the smallest seed of an answer.
  std::map<decltype(prompt(rows.front())), std::map<std::string, std::int64_t>> seeds;
  for (const EvalRow& row : rows) {
    const auto [at, added] = seeds[prompt(row)].try_emplace(row.variant, row.seed);
    if (!added) at->second = std::min(at->second, row.seed);
  }
  std::erase_if(rows, [&](const EvalRow& row) {
    return !row.prompt_hash.empty() && seeds.at(prompt(row)).at(row.variant) != row.seed;
  });
  for (EvalRow& row : rows) {
    if (row.prompt_hash.empty()) continue;
    const auto& of_prompt = seeds.at(prompt(row));
    row.seed = std::ranges::min(of_prompt | std::views::values);
  }
  return rows;
}

CommonRows of_common_prompts(std::vector<EvalRow> rows) {
  using Suite = std::pair<std::string, std::string>;  // of a model
  const auto suite_of = [](const EvalRow& row) { return Suite(row.fingerprint, row.suite); };
  std::map<Suite, std::map<std::string, Prompts>> answered;  // by variant
  std::map<Suite, Prompts> all;
  for (const EvalRow& row : rows) {
    answered[suite_of(row)][row.variant].insert(prompt_key(row));
    all[suite_of(row)].insert(prompt_key(row));
  }
  CommonRows result;
  std::map<Suite, Prompts> common;
  for (const auto& [suite, variants] : answered) {
    Prompts prompts = common_of(variants);
    if (prompts.empty()) prompts = all[suite];
    result.left_out += all[suite].size() - prompts.size();
    common.emplace(suite, std::move(prompts));
  }
  std::erase_if(rows, [&](const EvalRow& row) {
    return !common.at(suite_of(row)).contains(prompt_key(row));
  });
  result.rows = std::move(rows);
  return result;
}

}  // namespace restkv
