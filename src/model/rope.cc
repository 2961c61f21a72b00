#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace restkv {
namespace {

constexpr Position kRests = 64;        // a power of 2
constexpr std::size_t kMostKinds = 4;  // models have two at the most

// The dimension at which a wave makes `turns` turns over the original context (YaRN, eq. 17).
double correction_dimension(double turns, int n_rot, const RopeConfig& rope,
                            const YarnConfig& yarn) {
  return n_rot * std::log(yarn.original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.base));
}

// Share of the unscaled angle in pair i: 1 for fast waves, 0 for slow ones (YaRN, eq. 18).
double unscaled_share(std::size_t pair, double low, double high) {
  const double ramp = (static_cast<double>(pair) - low) / std::max(0.001, high - low);
  return 1.0 - std::clamp(ramp, 0.0, 1.0);
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
                                 std::span<const float> frequency_factors) {
  const auto pairs = static_cast<std::size_t>(n_rot) / 2;
  RopeFrequencies result{.frequencies = std::vector<double>(pairs), .magnitude = yarn.attn_factor};
  double low = 0;
  double high = 0;
  if (yarn.ext_factor != 0.0) {
    low = std::max(0.0, std::floor(correction_dimension(yarn.beta_fast, n_rot, rope, yarn)));
    high =
        std::min(n_rot - 1.0, std::ceil(correction_dimension(yarn.beta_slow, n_rot, rope, yarn)));
    result.magnitude *= 1.0 + 0.1 * std::log(1.0 / rope.freq_scale);
  }
  for (std::size_t i = 0; i < pairs; ++i) {
    double plain = std::pow(rope.base, -2.0 * static_cast<double>(i) / n_rot);
    if (!frequency_factors.empty()) plain /= static_cast<double>(frequency_factors[i]);
    const double share = yarn.ext_factor * unscaled_share(i, low, high);
    result.frequencies[i] = plain * rope.freq_scale * (1.0 - share) + plain * share;
  }
  return result;
}

void RopeAngles::turn_all(const RopeFrequencies& turns, Position position, Turn* to) {
  for (std::size_t i = 0; i < turns.frequencies.size(); ++i) {
    const double angle = turns.frequencies[i] * position;
    to[i] = {.cos = std::cos(angle), .sin = std::sin(angle)};
  }
}

RopeAngles::Kind& RopeAngles::kind_of(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
                                      std::span<const float> frequency_factors) {
  const auto pairs = static_cast<std::size_t>(n_rot) / 2;
  for (Kind& kind : kinds_) {
    if (kind.rope == rope && kind.yarn == yarn && kind.turns.frequencies.size() == pairs &&
        std::ranges::equal(kind.factors, frequency_factors)) {
      return kind;
    }
  }
  Kind kind{.rope = rope,
            .yarn = yarn,
            .factors = {frequency_factors.begin(), frequency_factors.end()},
            .turns = rope_frequencies(rope, yarn, n_rot, frequency_factors),
            .rests = std::vector<Turn>(kRests * pairs),
            .anchors = std::vector<Turn>(pairs)};
  for (Position rest = 0; rest < kRests; ++rest) {
    turn_all(kind.turns, rest, kind.rests.data() + static_cast<std::size_t>(rest) * pairs);
  }
  if (kinds_.size() == kMostKinds) kinds_.clear();
  return kinds_.emplace_back(std::move(kind));
}

void RopeAngles::compute(const RopeConfig& rope, const YarnConfig& yarn, int n_rot,
                         std::span<const float> frequency_factors,
                         std::span<const Position> positions) {
  Kind& kind = kind_of(rope, yarn, n_rot, frequency_factors);
  const std::size_t pairs = kind.anchors.size();
  const double magnitude = kind.turns.magnitude;
  row_size_ = pairs * 2;
  data_.resize(positions.size() * row_size_);
  for (std::size_t t = 0; t < positions.size(); ++t) {
    const Position rest = positions[t] & (kRests - 1);
    if (const Position multiple = positions[t] - rest; multiple != kind.multiple) {
      turn_all(kind.turns, multiple, kind.anchors.data());
      kind.multiple = multiple;
    }
    const Turn* const rests = kind.rests.data() + static_cast<std::size_t>(rest) * pairs;
    float* const row = data_.data() + t * row_size_;
    for (std::size_t i = 0; i < pairs; ++i) {
      const Turn a = kind.anchors[i];
      const Turn b = rests[i];
      row[2 * i] = static_cast<float>((a.cos * b.cos - a.sin * b.sin) * magnitude);
      row[2 * i + 1] = static_cast<float>((a.sin * b.cos + a.cos * b.sin) * magnitude);
    }
  }
}

}  // namespace restkv
