#include "eval/row_choice.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace restkv {
namespace {

using SuiteKey = std::pair<std::string, std::string>;  // of a model
SuiteKey suite_of(const EvalRow& row) { return {row.fingerprint, row.suite}; }

using PromptKey = std::tuple<std::string, std::int64_t, std::int64_t, std::string>;
PromptKey prompt_of(const EvalRow& row) { return {row.task, row.length, row.seed, row.sample}; }

}  // namespace

std::vector<EvalRow> without_repeats(std::vector<EvalRow> rows) {
  const auto answer = [](const EvalRow& row) {
    return std::tuple(row.fingerprint, row.variant, row.task, row.length, row.sample,
                      row.prompt_hash);
  };
  std::map<decltype(answer(rows.front())), std::int64_t> smallest;
  for (const EvalRow& row : rows) {
    const auto [at, added] = smallest.try_emplace(answer(row), row.seed);
    if (!added) at->second = std::min(at->second, row.seed);
  }
  std::erase_if(rows, [&](const EvalRow& row) {
    return !row.prompt_hash.empty() && smallest.at(answer(row)) != row.seed;
  });
  return rows;
}

CommonRows of_common_prompts(std::vector<EvalRow> rows) {
  struct Suite {
    std::set<std::string> variants;
    std::map<PromptKey, std::set<std::string>> answered;  // by which
  };
  std::map<SuiteKey, Suite> suites;
  for (const EvalRow& row : rows) {
    Suite& suite = suites[suite_of(row)];
    suite.variants.insert(row.variant);
    suite.answered[prompt_of(row)].insert(row.variant);
  }
  CommonRows common;
  for (auto& [key, suite] : suites) {
    const auto partly = [&suite](const auto& prompt) {
      return prompt.second.size() < suite.variants.size();
    };
    const auto count = static_cast<std::size_t>(std::ranges::count_if(suite.answered, partly));
    if (count == suite.answered.size()) continue;
    common.left_out += count;
    std::erase_if(suite.answered, partly);
  }
  std::erase_if(rows, [&](const EvalRow& row) {
    return !suites.at(suite_of(row)).answered.contains(prompt_of(row));
  });
  common.rows = std::move(rows);
  return common;
}

}  // namespace restkv
