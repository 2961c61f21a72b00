// The statistics that draw: bootstrap and sign flips.

#include <algorithm>
#include <cmath>
#include <string>

#include "base/random.h"
#include "eval/statistics.h"

namespace restkv {
namespace {

using Groups = std::span<const std::vector<double>>;

constexpr double kMostDraws = 0x1p34;  // about a minute
constexpr std::size_t kMostExactSigns = 16;

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

Result<void> check(Groups groups, const ResamplingOptions& options) {
  if (groups.empty()) return invalid("there is no group of differences");
  if (options.resamples == 0) return invalid("a bootstrap needs at least one resample");
  if (!(options.confidence > 0 && options.confidence < 1)) {
    return invalid("a confidence lies between 0 and 1");
  }
  std::size_t samples = 0;
  for (const auto& group : groups) {
    if (group.empty()) return invalid("a group has no differences");
    if (!std::ranges::all_of(group, [](double d) { return std::isfinite(d); })) {
      return invalid("a difference is not finite");
    }
    samples += group.size();
  }
  if (static_cast<double>(samples) * static_cast<double>(options.resamples) > kMostDraws) {
    return invalid(std::to_string(options.resamples) + " resamples of " + std::to_string(samples) +
                   " differences are too many");
  }
  return {};
}

double mean_of_groups(Groups groups) {
  double sum = 0;
  for (const auto& group : groups) sum += mean(group);
  return sum / static_cast<double>(groups.size());
}

// Uniform in [0, count), without the bias of a remainder worth speaking of (2^-32 at most).
std::size_t draw_below(std::uint64_t& state, std::size_t count) {
  return static_cast<std::size_t>(next_random(state) >> 32) * count >> 32;
}

double resampled_mean(Groups groups, std::uint64_t& state) {
  double sum = 0;
  for (const auto& group : groups) {
    double group_sum = 0;
    for (std::size_t i = 0; i < group.size(); ++i)
      group_sum += group[draw_below(state, group.size())];
    sum += group_sum / static_cast<double>(group.size());
  }
  return sum / static_cast<double>(groups.size());
}

// What each difference adds to the statistic, without zeros.
std::vector<double> contributions(Groups groups) {
  std::vector<double> parts;
  for (const auto& group : groups) {
    const auto weight = static_cast<double>(group.size()) * static_cast<double>(groups.size());
    for (const double difference : group) {
      if (difference != 0) parts.push_back(difference / weight);
    }
  }
  return parts;
}

double flipped_sum(std::span<const double> parts, std::uint64_t signs) {
  double sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i)
    sum += (signs >> i & 1U) != 0 ? -parts[i] : parts[i];
  return sum;
}

double randomly_flipped_sum(std::span<const double> parts, std::uint64_t& state) {
  double sum = 0;
  for (std::size_t i = 0; i < parts.size(); i += 64) {
    sum += flipped_sum(parts.subspan(i, std::min<std::size_t>(64, parts.size() - i)),
                       next_random(state));
  }
  return sum;
}

}  // namespace

Result<Interval> bootstrap_interval(Groups groups, const ResamplingOptions& options) {
  RESTKV_TRY(check(groups, options));
  std::vector<double> means(options.resamples);
  std::uint64_t state = options.seed;
  for (double& value : means) value = resampled_mean(groups, state);
  std::ranges::sort(means);
  const double tail = (1 - options.confidence) / 2;
  return Interval{.estimate = mean_of_groups(groups),
                  .low = quantile(means, tail),
                  .high = quantile(means, 1 - tail)};
}

Result<double> sign_flip_p_value(Groups groups, const ResamplingOptions& options) {
  RESTKV_TRY(check(groups, options));
  const std::vector<double> parts = contributions(groups);
  double absolute = 0;
  double observed = 0;
  for (const double part : parts) {
    absolute += std::abs(part);
    observed += part;
  }
  // Sums that are equal but for rounding count as equal.
  const double threshold = std::abs(observed) - 1e-12 * absolute;
  const auto is_extreme = [&](double sum) { return std::abs(sum) >= threshold; };
  std::uint64_t extreme = 0;
  if (parts.size() <= kMostExactSigns) {
    const std::uint64_t flips = 1ULL << parts.size();
    for (std::uint64_t signs = 0; signs < flips; ++signs) {
      extreme += is_extreme(flipped_sum(parts, signs)) ? 1 : 0;
    }
    return static_cast<double>(extreme) / static_cast<double>(flips);
  }
  std::uint64_t state = options.seed;
  for (std::size_t i = 0; i < options.resamples; ++i) {
    extreme += is_extreme(randomly_flipped_sum(parts, state)) ? 1 : 0;
  }
  return static_cast<double>(extreme + 1) / static_cast<double>(options.resamples + 1);
}

}  // namespace restkv
