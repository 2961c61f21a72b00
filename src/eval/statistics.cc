#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "base/check.h"

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

bool is_inside_0_1(double value) { return value > 0 && value < 1; }

// z[1 - level / 2] + z[power], times the deviation.
Result<double> reach_of(double deviation, const PowerOptions& options) {
  if (!is_inside_0_1(options.level) || !is_inside_0_1(options.power)) {
    return invalid("level and power lie between 0 and 1");
  }
  if (!std::isfinite(deviation) || deviation < 0) {
    return invalid("a standard deviation is a number from 0");
  }
  const double z = normal_quantile(1 - options.level / 2) + normal_quantile(options.power);
  return std::max(z, 0.0) * deviation;
}

// Positions of the p-values, smallest first.
std::vector<std::size_t> ascending(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p_values[i]; });
  return order;
}

}  // namespace

double mean(std::span<const double> values) {
  RESTKV_CHECK(!values.empty());
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<double> sample_variance(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double middle = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - middle) * (value - middle);
  return sum / static_cast<double>(values.size() - 1);
}

double quantile(std::span<const double> sorted, double share) {
  RESTKV_CHECK(!sorted.empty() && share >= 0 && share <= 1);
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

// Bisection on erfc: a hundred steps, exact to the last bits, and called a few times per report.
double normal_quantile(double probability) {
  RESTKV_CHECK(is_inside_0_1(probability));
  double low = -40;
  double high = 40;
  for (int step = 0; step < 100; ++step) {
    const double middle = (low + high) / 2;
    const double below = std::erfc(-middle / std::numbers::sqrt2) / 2;
    (below < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

Result<std::vector<double>> paired_differences(std::span<const double> first,
                                               std::span<const double> second) {
  if (first.size() != second.size()) {
    return invalid("pairs need as many scores of the one as of the other, not " +
                   std::to_string(first.size()) + " and " + std::to_string(second.size()));
  }
  if (first.empty()) return invalid("there are no pairs of scores");
  std::vector<double> differences(first.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    differences[i] = first[i] - second[i];
    if (!std::isfinite(differences[i])) {
      return invalid("the scores of pair " + std::to_string(i) + " are not finite");
    }
  }
  return differences;
}

std::vector<double> holm(std::span<const double> p_values) {
  const auto order = ascending(p_values);
  std::vector<double> adjusted(p_values.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    const auto left = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, left * p_values[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

std::vector<double> benjamini_hochberg(std::span<const double> p_values) {
  const auto order = ascending(p_values);
  const auto count = static_cast<double>(order.size());
  std::vector<double> adjusted(p_values.size());
  double smallest = 1;
  for (std::size_t rank = order.size(); rank-- > 0;) {
    // The factor first: it is at least 1, so no value falls by rounding.
    const double factor = count / static_cast<double>(rank + 1);
    smallest = std::min(smallest, p_values[order[rank]] * factor);
    adjusted[order[rank]] = smallest;
  }
  return adjusted;
}

Result<std::uint64_t> samples_needed(double difference, double deviation,
                                     const PowerOptions& options) {
  if (!std::isfinite(difference) || difference == 0) {
    return invalid("no number of samples finds a difference of " + std::to_string(difference));
  }
  RESTKV_ASSIGN(const double reach, reach_of(deviation, options));
  const double samples = std::ceil(std::pow(reach / difference, 2));
  if (!(samples <= 0x1p53)) {
    return Error{ErrorCode::kUnsupported, "more samples are needed than anyone can count"};
  }
  return std::max<std::uint64_t>(2, static_cast<std::uint64_t>(samples));
}

Result<double> detectable_difference(std::uint64_t samples, double deviation,
                                     const PowerOptions& options) {
  RESTKV_CHECK(samples > 0);
  RESTKV_ASSIGN(const double reach, reach_of(deviation, options));
  return reach / std::sqrt(static_cast<double>(samples));
}

}  // namespace restkv
