// KeyDiff (arXiv 2504.15364): keys that point elsewhere than the average key are worth keeping. The
// score is the negative cosine of the angle between a key and the mean of all unit keys. It
// reads no queries, so it does not care whether the question is known.

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "policies/row_norms_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

// Rows whose sum is taken in f32 before it is added to the total in f64: the unit keys of a real
// layer nearly cancel.
constexpr std::size_t kBlock = 256;
constexpr float kLeastNorm = 1e-12F;

class KeyDiff final : public Scorer {
 public:
  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    const auto dim = static_cast<std::size_t>(layer.head_dim);
    // Everything is allocated here: a worker must not throw.
    std::vector<std::vector<float>> inverses;
    for (const auto& head : scores) inverses.emplace_back(head.size());
    request.threads->for_each(scores.size(), [&](std::size_t h) {
      const KernelTable& kernels = *request.kernels;
      const HeadRows& head = layer.heads[h];
      const TypedRows keys{head.keys, head.type};
      const std::span<float> inverse = inverses[h];
      row_norms(kernels, keys, dim, inverse);
      for (float& norm : inverse) norm = 1.0F / std::max(norm, kLeastNorm);
      const std::array<float, kMaxHeadDim> anchor = unit_mean(kernels, keys, dim, inverse);

      std::array<float, kMaxHeadDim> key;
      for (std::size_t j = 0; j < inverse.size(); ++j) {
        kernels.decode_row(head.type, keys.data + j * kv_row_bytes(head.type, dim), key.data(),
                           dim);
        scores[h][j] = -kernels.dot(key.data(), anchor.data(), dim) * inverse[j];
      }
    });
  }

 private:
  // The direction of the mean of the unit keys, of length 1; zeros when they cancel.
  static std::array<float, kMaxHeadDim> unit_mean(const KernelTable& kernels, TypedRows keys,
                                                  std::size_t dim, std::span<const float> inverse) {
    const std::size_t row_bytes = kv_row_bytes(keys.type, dim);
    std::array<double, kMaxHeadDim> total = {};
    std::array<float, kMaxHeadDim> part;
    for (std::size_t first = 0; first < inverse.size(); first += kBlock) {
      const std::size_t count = std::min(kBlock, inverse.size() - first);
      kernels.weighted_sum(inverse.data() + first, {keys.data + first * row_bytes, keys.type},
                           count, dim, part.data());
      for (std::size_t d = 0; d < dim; ++d) total[d] += static_cast<double>(part[d]);
    }
    double squares = 0;
    for (std::size_t d = 0; d < dim; ++d) squares += total[d] * total[d];
    std::array<float, kMaxHeadDim> mean = {};
    if (squares == 0) return mean;
    const double scale = 1.0 / std::sqrt(squares);
    for (std::size_t d = 0; d < dim; ++d) mean[d] = static_cast<float>(total[d] * scale);
    return mean;
  }
};

std::unique_ptr<Scorer> make(const ParamValues& /*values*/) { return std::make_unique<KeyDiff>(); }

}  // namespace

extern const PolicyInfo keydiff_policy;
constinit const PolicyInfo keydiff_policy{
    .name = "keydiff",
    .summary = "keys that differ from the average key; needs no question",
    .paper = "KeyDiff, arXiv 2504.15364",
    .needs = Needs::kNothing,
    .make = make,
};

}  // namespace restkv
