#include "eval/exact_sign_flips.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"

namespace restkv {
namespace {

constexpr double kMostSteps = 0x1p17;  // of all parts together
constexpr double kMostWork = 0x1p26;   // additions
// Smaller chances count as none: numbers near the end of the range are slow.
constexpr double kLeastChance = 1e-300;

double flushed(double chance) { return chance < kLeastChance ? 0.0 : chance; }

// The size of each part in steps, with the largest step that fits all. The smallest part is a
// multiple of it.
std::optional<std::vector<std::size_t>> in_steps(std::span<const double> parts) {
  constexpr double kRounding = 1e-7;  // of a step; sizes are exact to about 1e-9
  double smallest = std::abs(parts.front());
  double sum = 0;
  for (const double part : parts) {
    smallest = std::min(smallest, std::abs(part));
    sum += std::abs(part);
  }
  std::vector<std::size_t> sizes(parts.size());
  for (double steps = 1; steps * sum <= kMostSteps * smallest; ++steps) {
    bool fits = true;
    for (std::size_t i = 0; fits && i < parts.size(); ++i) {
      const double exact = std::abs(parts[i]) / smallest * steps;
      const double whole = std::round(exact);
      sizes[i] = static_cast<std::size_t>(whole);
      fits = std::abs(exact - whole) <= kRounding;
    }
    if (fits) return sizes;
  }
  return std::nullopt;
}

// Chances of 0 .. n heads of n fair coins. From the middle, so that no factor overflows.
std::vector<double> fair_coins(std::size_t n) {
  std::vector<double> chances(n + 1);
  double sum = 0;
  double chance = 1;
  for (std::size_t heads = n / 2 + 1; heads-- > 0;) {
    chances[heads] = chances[n - heads] = chance;
    sum += heads * 2 == n ? chance : 2 * chance;
    chance = flushed(chance * static_cast<double>(heads) / static_cast<double>(n - heads + 1));
  }
  for (double& value : chances) value = flushed(value / sum);
  return chances;
}

// Chances of the sum of the parts that are flipped, in steps. The most frequent size is a row of
// fair coins; each other part is added to it by itself.
std::vector<double> flipped_steps(const std::map<std::size_t, std::size_t>& counts,
                                  std::size_t total) {
  const auto most = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
  std::vector<double> now(total + 1);
  std::vector<double> next(total + 1);
  const std::vector<double> coins = fair_coins(most->second);
  for (std::size_t i = 0; i < coins.size(); ++i) now[i * most->first] = coins[i];
  std::size_t reached = most->first * most->second;
  for (const auto& [size, count] : counts) {
    if (size == most->first) continue;
    for (std::size_t n = 0; n < count; ++n) {
      for (std::size_t s = 0; s < size; ++s) next[s] = flushed(now[s] / 2);
      for (std::size_t s = size; s <= reached + size; ++s) {
        next[s] = flushed((now[s] + now[s - size]) / 2);
      }
      reached += size;
      std::swap(now, next);
    }
  }
  return now;
}

}  // namespace

std::optional<double> exact_sign_flip_p_value(std::span<const double> parts) {
  RESTKV_CHECK(!parts.empty());
  const auto sizes = in_steps(parts);
  if (!sizes) return std::nullopt;
  std::map<std::size_t, std::size_t> counts;  // of each size
  std::size_t total = 0;
  std::size_t negative = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    most = std::max(most, ++counts[(*sizes)[i]]);
    total += (*sizes)[i];
    if (parts[i] < 0) negative += (*sizes)[i];
  }
  if (static_cast<double>(parts.size() - most) * static_cast<double>(total) > kMostWork) {
    return std::nullopt;
  }
  // The sum is total - 2 * flipped: symmetric, so both tails are as likely.
  const std::size_t edge = std::min(negative, total - negative);
  if (2 * edge == total) return 1;
  const std::vector<double> chances = flipped_steps(counts, total);
  double tail = 0;
  for (std::size_t flipped = 0; flipped <= edge; ++flipped) tail += chances[flipped];
  return std::clamp(2 * tail, kLeastChance, 1.0);
}

}  // namespace restkv
