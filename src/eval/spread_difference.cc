#include "eval/spread_difference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"

namespace restkv {
namespace {

constexpr double kMostDraws = 0x1p34;  // about a minute
// Ten for each that may be as extreme where a family as a whole has 5 %.
constexpr std::size_t kDrawsPerComparison = 200;

// A method's scores in one cell, or the two methods'.
struct Cell {
  std::vector<double> first;
  std::vector<double> second;
};
// Cells by number, and which of them are compared with each other.
struct Layout {
  std::vector<Cell> cells;
  std::vector<std::vector<std::size_t>> one_per_task;    // of a length and seed
  std::vector<std::vector<std::size_t>> one_per_length;  // of a task and seed
  std::vector<std::vector<std::size_t>> one_per_seed;    // of a task and length
};

template <typename Key>
std::vector<std::vector<std::size_t>> members(const std::map<Key, std::vector<std::size_t>>& map) {
  std::vector<std::vector<std::size_t>> lists;
  for (const auto& [key, list] : map) lists.push_back(list);
  return lists;
}

Layout layout_of(std::span<const PairedScore> pairs) {
  std::map<std::tuple<std::string, std::size_t, std::uint64_t>, Cell> cells;
  for (const PairedScore& pair : pairs) {
    Cell& cell = cells[{pair.task, pair.length, pair.seed}];
    cell.first.push_back(pair.first);
    cell.second.push_back(pair.second);
  }
  Layout layout;
  std::map<std::pair<std::size_t, std::uint64_t>, std::vector<std::size_t>> by_length;
  std::map<std::pair<std::string, std::uint64_t>, std::vector<std::size_t>> by_task;
  std::map<std::pair<std::string, std::size_t>, std::vector<std::size_t>> by_both;
  for (auto& [key, cell] : cells) {
    const auto& [task, length, seed] = key;
    by_length[{length, seed}].push_back(layout.cells.size());
    by_task[{task, seed}].push_back(layout.cells.size());
    by_both[{task, length}].push_back(layout.cells.size());
    layout.cells.push_back(std::move(cell));
  }
  layout.one_per_task = members(by_length);
  layout.one_per_length = members(by_task);
  layout.one_per_seed = members(by_both);
  return layout;
}

// Of one draw; NaN where a variance is missing.
struct Differences {
  double mean = 0;
  double over_samples = 0;
  double over_tasks = 0;
  double over_lengths = 0;
  double over_seeds = 0;
};

// The mean over the lists of the variance of their values.
double mean_variance(const std::vector<std::vector<std::size_t>>& lists,
                     const std::vector<double>& values) {
  double sum = 0;
  std::size_t count = 0;
  std::vector<double> chosen;
  for (const auto& list : lists) {
    chosen.clear();
    for (const std::size_t i : list) chosen.push_back(values[i]);
    if (const auto variance = sample_variance(chosen)) {
      sum += *variance;
      ++count;
    }
  }
  return count == 0 ? std::nan("") : sum / static_cast<double>(count);
}

// What the samples add to mean_variance() of their cells' means: the same mean of each cell's
// noise.
double mean_noise(const std::vector<std::vector<std::size_t>>& lists,
                  const std::vector<double>& noise) {
  double sum = 0;
  std::size_t count = 0;
  for (const auto& list : lists) {
    if (list.size() < 2) continue;
    double in_list = 0;
    for (const std::size_t i : list) in_list += noise[i];
    sum += in_list / static_cast<double>(list.size());
    ++count;
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

struct MethodSpread {
  double mean = 0;
  double over_samples = 0;
  double over_tasks = 0;
  double over_lengths = 0;
  double over_seeds = 0;
};
MethodSpread spread_of(const Layout& layout, const std::vector<std::vector<double>>& scores) {
  std::vector<double> means;
  double within = 0;
  std::size_t count = 0;
  for (const std::vector<double>& cell : scores) {
    means.push_back(mean(cell));
    if (const auto variance = sample_variance(cell)) {
      within += *variance;
      ++count;
    }
  }
  return {.mean = mean(means),
          .over_samples = count == 0 ? std::nan("") : within / static_cast<double>(count),
          .over_tasks = mean_variance(layout.one_per_task, means),
          .over_lengths = mean_variance(layout.one_per_length, means),
          .over_seeds = mean_variance(layout.one_per_seed, means)};
}

Differences difference(const Layout& layout, const std::vector<std::vector<double>>& first,
                       const std::vector<std::vector<double>>& second) {
  const MethodSpread a = spread_of(layout, first);
  const MethodSpread b = spread_of(layout, second);
  return {.mean = a.mean - b.mean,
          .over_samples = a.over_samples - b.over_samples,
          .over_tasks = a.over_tasks - b.over_tasks,
          .over_lengths = a.over_lengths - b.over_lengths,
          .over_seeds = a.over_seeds - b.over_seeds};
}

// The first method's noise less the second's, in each cell's mean.
std::vector<double> noise_of(const Layout& layout) {
  std::vector<double> noise;
  for (const Cell& cell : layout.cells) {
    const auto first = sample_variance(cell.first);
    const auto second = sample_variance(cell.second);
    noise.push_back(first ? (*first - *second) / static_cast<double>(cell.first.size()) : 0);
  }
  return noise;
}

double p_value(double estimate, const std::vector<double>& draws) {
  const auto [least, most] = std::ranges::minmax(draws);
  const double rounding = 1e-12 * (std::abs(least) + std::abs(most));
  if (most - least <= rounding) return 1;
  const auto extreme = std::ranges::count_if(draws, [&](double draw) {
    return std::abs(draw - estimate) >= std::abs(estimate) - rounding;
  });
  return static_cast<double>(extreme + 1) / static_cast<double>(draws.size() + 1);
}

TestedInterval interval_of(double estimate, std::vector<double> draws, double confidence) {
  std::ranges::sort(draws);
  const double tail = (1 - confidence) / 2;
  return {{.estimate = estimate, .low = quantile(draws, tail), .high = quantile(draws, 1 - tail)},
          p_value(estimate, draws)};
}

Result<void> check(std::span<const PairedScore> pairs, const ResamplingOptions& options) {
  const auto invalid = [](const char* text) { return Error{ErrorCode::kInvalidArgument, text}; };
  if (pairs.empty()) return invalid("there is no pair of scores");
  for (const PairedScore& pair : pairs) {
    if (!std::isfinite(pair.first) || !std::isfinite(pair.second)) {
      return invalid("a score is not finite");
    }
  }
  if (options.resamples == 0) return invalid("a bootstrap needs at least one resample");
  if (!(options.confidence > 0 && options.confidence < 1)) {
    return invalid("a confidence lies between 0 and 1");
  }
  const double resamples =
      std::max(static_cast<double>(options.resamples),
               static_cast<double>(kDrawsPerComparison) * static_cast<double>(options.comparisons));
  if (static_cast<double>(pairs.size()) * resamples > kMostDraws) {
    return invalid("so many resamples of so many scores are too many");
  }
  return {};
}

}  // namespace

Result<SpreadDifference> spread_difference(std::span<const PairedScore> pairs,
                                           const ResamplingOptions& options) {
  RESTKV_TRY(check(pairs, options));
  const Layout layout = layout_of(pairs);
  std::vector<std::vector<double>> first;
  std::vector<std::vector<double>> second;
  for (const Cell& cell : layout.cells) {
    first.push_back(cell.first);
    second.push_back(cell.second);
  }
  const Differences seen = difference(layout, first, second);
  std::vector<std::vector<double>> differences;  // [cell]
  Layout far = layout;
  for (Cell& cell : far.cells) {
    differences.push_back(*paired_differences(cell.first, cell.second));
    cell = {.first = far_from_mean(cell.first), .second = far_from_mean(cell.second)};
  }
  RESTKV_ASSIGN(const double mean_p, sign_flip_p_value(differences, options));
  const std::vector<double> noise = noise_of(layout);
  const double over_tasks = mean_noise(layout.one_per_task, noise);
  const double over_lengths = mean_noise(layout.one_per_length, noise);
  const double over_seeds = mean_noise(layout.one_per_seed, noise);

  std::array<std::vector<double>, 5> draws;
  std::uint64_t state = options.seed;
  const std::size_t resamples =
      std::max(options.resamples, kDrawsPerComparison * options.comparisons);
  for (std::size_t n = 0; n < resamples; ++n) {
    for (std::size_t c = 0; c < far.cells.size(); ++c) {
      const Cell& cell = far.cells[c];
      for (std::size_t i = 0; i < cell.first.size(); ++i) {
        const std::size_t drawn =
            static_cast<std::size_t>(next_random(state) >> 32) * cell.first.size() >> 32;
        first[c][i] = cell.first[drawn];
        second[c][i] = cell.second[drawn];
      }
    }
    const Differences one = difference(layout, first, second);
    draws[0].push_back(one.mean);
    draws[1].push_back(one.over_samples);
    draws[2].push_back(one.over_tasks - over_tasks);
    draws[3].push_back(one.over_lengths - over_lengths);
    draws[4].push_back(one.over_seeds - over_seeds);
  }
  const auto interval = [&](double estimate, std::vector<double>& drawn) {
    return std::isnan(estimate)
               ? std::nullopt
               : std::optional(interval_of(estimate, std::move(drawn), options.confidence));
  };
  SpreadDifference found{.pairs = pairs.size(),
                         .mean = *interval(seen.mean, draws[0]),
                         .over_samples = interval(seen.over_samples, draws[1]),
                         .over_tasks = interval(seen.over_tasks, draws[2]),
                         .over_lengths = interval(seen.over_lengths, draws[3]),
                         .over_seeds = interval(seen.over_seeds, draws[4])};
  found.mean.p = mean_p;
  return found;
}

}  // namespace restkv
