// The statistics that draw: bootstrap and sign flips.

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/random.h"
#include "eval/exact_sign_flips.h"
#include "eval/statistics.h"

namespace restkv {
namespace {

using Groups = std::span<const std::vector<double>>;

constexpr double kMostDraws = 0x1p34;  // about a minute
constexpr std::size_t kMostEnumeratedSigns = 16;
// Flips for each comparison of a family: 100, and at the least 10, for each that may be as extreme
// where the family as a whole has 5 %.
constexpr double kFlipsPerComparison = 100 / 0.05;
constexpr double kLeastFlipsPerComparison = 10 / 0.05;
constexpr double kUsualFlipWork = 0x1p26;  // flipped signs of one comparison
constexpr double kMostFlips = 5e6;
// Extreme flips that tell well enough how frequent they are.
constexpr std::size_t kEnoughExtreme = 100;

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

// Sums under random signs, eight parts at a time: each eight have a table of their 256 sums.
class RandomFlips {
 public:
  explicit RandomFlips(std::span<const double> parts) : words_((parts.size() + 63) / 64) {
    for (std::size_t i = 0; i < parts.size(); i += 8) {
      const auto eight = parts.subspan(i, std::min<std::size_t>(8, parts.size() - i));
      Table& table = words_[i / 64][i / 8 % 8];
      for (std::size_t signs = 0; signs < 256; ++signs) table[signs] = flipped_sum(eight, signs);
    }
  }
  [[nodiscard]] double draw(std::uint64_t& state) const {
    std::array<double, 8> sums = {};
    for (const auto& tables : words_) {
      const std::uint64_t signs = next_random(state);
      for (std::size_t b = 0; b < 8; ++b) sums[b] += tables[b][signs >> (8 * b) & 0xFFU];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }

 private:
  using Table = std::array<double, 256>;
  std::vector<std::array<Table, 8>> words_;
};

// How many flips to draw at the most.
std::size_t flips_for(std::size_t parts, const ResamplingOptions& options) {
  const auto family = static_cast<double>(options.comparisons);
  const auto each = static_cast<double>(parts);
  const double wanted = std::min(kFlipsPerComparison * family, kUsualFlipWork / each);
  const double flips = std::min(
      {std::max(wanted, kLeastFlipsPerComparison * family), kMostFlips, kMostDraws / each});
  return std::max(options.resamples, static_cast<std::size_t>(flips));
}

}  // namespace

std::vector<double> far_from_mean(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  const double middle = mean(values);
  const double factor = values.size() < 2 ? 1 : std::sqrt(n / (n - 1));
  std::vector<double> far;
  for (const double value : values) far.push_back(middle + factor * (value - middle));
  return far;
}

Result<Interval> bootstrap_interval(Groups groups, const ResamplingOptions& options) {
  RESTKV_TRY(check(groups, options));
  std::vector<std::vector<double>> far;
  for (const std::vector<double>& group : groups) far.push_back(far_from_mean(group));
  std::vector<double> means(options.resamples);
  std::uint64_t state = options.seed;
  for (double& value : means) value = resampled_mean(far, state);
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
  if (parts.size() <= kMostEnumeratedSigns) {
    const std::uint64_t flips = 1ULL << parts.size();
    for (std::uint64_t signs = 0; signs < flips; ++signs) {
      extreme += is_extreme(flipped_sum(parts, signs)) ? 1 : 0;
    }
    return static_cast<double>(extreme) / static_cast<double>(flips);
  }
  if (const auto exact = exact_sign_flip_p_value(parts)) return *exact;
  const RandomFlips random(parts);
  const std::size_t most = flips_for(parts.size(), options);
  std::uint64_t state = options.seed;
  for (std::size_t flips = 1; flips <= most; ++flips) {
    extreme += is_extreme(random.draw(state)) ? 1 : 0;
    if (flips > options.resamples && extreme == kEnoughExtreme) {
      return static_cast<double>(extreme) / static_cast<double>(flips);
    }
    if (flips == options.resamples && extreme >= kEnoughExtreme) {
      return static_cast<double>(extreme + 1) / static_cast<double>(flips + 1);
    }
  }
  return static_cast<double>(extreme + 1) / static_cast<double>(most + 1);
}

}  // namespace restkv
