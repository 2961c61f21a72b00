// KVzip (arXiv 2505.23416): what would the model look at to say the text once more? The prompt is
// read a second time, behind itself, in pieces; a row is worth the largest attention that a query
// of that replay pays to it.
//
// The publication asks for the repetition in words and takes the best rows of all layers together.
// Here the text follows the text, without an instruction, attention is that over all rows that the
// replay sees, and how rows are divided is the allocator's business: a budget per layer unless all
// layers compete. score=rest is ours: ReST-KV's measure under the replay's queries, that is how far
// the output of a query would move without the row.
//
// What a row was worth stays with it, so a later turn repeats its own tokens only.

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/aligned.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kBlock = 32;  // queries whose probabilities are held at a time
// Keeps the odds finite when one row takes all attention, as in rest_kv.cc.
constexpr float kLeastRest = 0x1p-24F;
constexpr float kLargest = std::numeric_limits<float>::max();

enum class Measure : std::uint8_t { kMax, kRest };

// Memory of one worker, for any head of the layer.
struct Scratch {
  AlignedArray<float> probabilities;  // [kBlock, rows]
  AlignedArray<float> projected;      // [rows, head_dim]: R v of each row
  AlignedArray<float> distances;      // [rows]
};

class KvZip final : public Scorer {
 public:
  KvZip(Measure measure, std::size_t piece) : measure_(measure), piece_(piece) {}

  void score(const LayerObservation& layer, const ScoreRequest& /*request*/,
             std::span<const std::span<float>> scores) const override {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      std::ranges::copy(layer.replay_worth[h], scores[h].begin());
    }
  }

  void replay(const LayerObservation& layer, const ScoreRequest& request,
              std::span<const std::span<float>> worth) const override;

  [[nodiscard]] std::size_t replay_piece() const override { return piece_; }

 private:
  // Which rows of a KV head each query sees.
  struct Ranges {
    std::vector<std::uint32_t> begin, end;  // [queries]
  };
  // One query head.
  struct Head {
    const HeadRows* rows = nullptr;
    const Ranges* ranges = nullptr;
    View2<const float> queries;     // [queries, head_dim]
    const float* factor = nullptr;  // R of the output projection
    AttentionRule rule;
    std::span<float> worth;  // [prompt rows]: the result
  };
  static Ranges ranges_of(const LayerObservation& layer, std::span<const Position> rows);
  void replay_head(const Head& head, const KernelTable& kernels, Scratch& scratch) const;
  static void raise_by_moves(const Head& head, std::span<const float> shares,
                             const KernelTable& kernels, Scratch& scratch);

  Measure measure_;
  std::size_t piece_;
};

// |R x|, R upper triangular: out = R x.
void project(const float* factor, const float* x, std::size_t dim, const KernelTable& kernels,
             float* out) {
  for (std::size_t i = 0; i < dim; ++i) {
    out[i] = kernels.dot(factor + i * dim + i, x + i, dim - i);
  }
}

void KvZip::replay(const LayerObservation& layer, const ScoreRequest& request,
                   std::span<const std::span<float>> worth) const {
  const Threads& threads = *request.threads;
  const auto n_head = static_cast<std::size_t>(layer.n_head);
  const auto group = static_cast<std::size_t>(layer.group());
  const auto dim = static_cast<std::size_t>(layer.head_dim);
  std::size_t most = 0;
  std::vector<Ranges> ranges;
  for (const HeadRows& head : layer.heads) {
    ranges.push_back(ranges_of(layer, head.positions));
    most = std::max(most, head.positions.size());
  }

  // Everything is allocated here: a worker must not throw.
  AlignedArray<float> buffer(n_head * most);
  const View2<float> by_head(buffer.data(), n_head, most);
  std::vector<Scratch> scratches(static_cast<std::size_t>(threads.count()));
  for (Scratch& scratch : scratches) {
    scratch.probabilities.reserve(kBlock * most);
    if (measure_ == Measure::kMax) continue;
    scratch.projected.reserve(most * dim);
    scratch.distances.reserve(most);
  }

  threads.for_each_worker(n_head, [&](std::size_t index, std::size_t worker) {
    const std::size_t h = index / group;
    const Head head{
        .rows = &layer.heads[h],
        .ranges = &ranges[h],
        .queries = layer.window_queries.plane(index),
        .factor = measure_ == Measure::kRest ? layer.output_factors.plane(index).data : nullptr,
        .rule = layer.attention,
        .worth = by_head.row(index).first(worth[h].size())};
    replay_head(head, *request.kernels, scratches[worker]);
  });
  for (std::size_t h = 0; h < worth.size(); ++h) {
    for (std::size_t g = 0; g < group; ++g) {
      const std::span<const float> head = by_head.row(h * group + g);
      for (std::size_t j = 0; j < worth[h].size(); ++j) {
        worth[h][j] = std::max(worth[h][j], head[j]);
      }
    }
  }
}

KvZip::Ranges KvZip::ranges_of(const LayerObservation& layer, std::span<const Position> rows) {
  const auto first_at = [&rows](Position position) {
    return static_cast<std::uint32_t>(std::ranges::lower_bound(rows, position) - rows.begin());
  };
  Ranges ranges;
  const int sliding = layer.attention.sliding_window;
  for (const Position query : layer.window_positions) {
    ranges.begin.push_back(sliding > 0 ? first_at(query - sliding + 1) : 0);
    ranges.end.push_back(first_at(query + 1));
  }
  return ranges;
}

void KvZip::replay_head(const Head& head, const KernelTable& kernels, Scratch& scratch) const {
  const std::size_t rows = head.rows->positions.size();
  const std::size_t dim = head.queries.cols;
  std::ranges::fill(head.worth, 0.0F);
  if (measure_ == Measure::kRest) {
    std::array<float, kMaxHeadDim> value;
    for (std::size_t j = 0; j < head.worth.size(); ++j) {
      kernels.decode_row(head.rows->type,
                         head.rows->values + j * kv_row_bytes(head.rows->type, dim), value.data(),
                         dim);
      project(head.factor, value.data(), dim, kernels, scratch.projected.data() + j * dim);
    }
  }
  for (std::size_t first = 0; first < head.queries.rows; first += kBlock) {
    const std::size_t count = std::min(kBlock, head.queries.rows - first);
    kernels.window_attention({.q = head.queries.row(first).data(),
                              .n_query = count,
                              .head_dim = dim,
                              .keys = {head.rows->keys, head.rows->type},
                              .rows = rows,
                              .row_begin = head.ranges->begin.data() + first,
                              .row_end = head.ranges->end.data() + first,
                              .rule = head.rule,
                              .out = scratch.probabilities.data()});
    for (std::size_t i = 0; i < count; ++i) {
      const std::span<const float> shares(scratch.probabilities.data() + i * rows, rows);
      if (measure_ == Measure::kRest) {
        raise_by_moves(head, shares, kernels, scratch);
        continue;
      }
      for (std::size_t j = 0; j < head.worth.size(); ++j) {
        head.worth[j] = std::max(head.worth[j], shares[j]);
      }
    }
  }
}

// p_j / (1 - p_j) * |W_o (o - v_j)|, o being the query's output over all that it sees.
void KvZip::raise_by_moves(const Head& head, std::span<const float> shares,
                           const KernelTable& kernels, Scratch& scratch) {
  const std::size_t dim = head.queries.cols;
  std::array<float, kMaxHeadDim> output;
  std::array<float, kMaxHeadDim> projected;
  kernels.weighted_sum(shares.data(), {head.rows->values, head.rows->type}, shares.size(), dim,
                       output.data());
  project(head.factor, output.data(), dim, kernels, projected.data());
  const auto* const rows = reinterpret_cast<const std::byte*>(scratch.projected.data());
  kernels.output_distances(nullptr, projected.data(), {rows, KvType::kF32}, head.worth.size(), dim,
                           scratch.distances.data());
  for (std::size_t j = 0; j < head.worth.size(); ++j) {
    const float odds = shares[j] / std::max(1.0F - shares[j], kLeastRest);
    const float move = std::min(odds * std::min(scratch.distances[j], kLargest), kLargest);
    head.worth[j] = std::max(head.worth[j], move);
  }
}

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<KvZip>(values.choice("score") == "rest" ? Measure::kRest : Measure::kMax,
                                 static_cast<std::size_t>(values.integer("piece")));
}

constexpr ParamInfo kParams[] = {
    {.name = "score",
     .summary = "the largest attention, or (ours) how far an output of the replay would move",
     .kind = ParamKind::kChoice,
     .default_value = "max",
     .choices = "max|rest"},
    {.name = "piece",
     .summary = "tokens that are repeated at a time; a piece sees the prompt and itself",
     .kind = ParamKind::kInteger,
     .default_value = "2048",
     .min = 1,
     .max = 65536},
};

}  // namespace

extern const PolicyInfo kvzip_policy;
constinit const PolicyInfo kvzip_policy{
    .name = "kvzip",
    .summary =
        "largest attention when the text is read a second time (three to four times the work); "
        "needs no question",
    .paper = "KVzip, arXiv 2505.23416, with budgets per layer (unless global) and no instruction",
    .needs = Needs::kReplay | Needs::kOutputProjection,
    .paper_protection = {.sinks = 4, .window = false},
    .params = kParams,
    .make = make,
};

}  // namespace restkv
