// What the boxes of blocks promise a query. Compiled once per target.
//
// Why this method: in a long cache there are as many boxes as the step reads rows, and a group's
// query heads want the same ones. A lane is a block, the columns of a run are the right side of
// the tile product, and each is unpacked in registers once for up to kMostHeads query heads. The
// larger of q * low and q * high is one of two columns by the sign of q: a query is split into its
// negative and its positive part, and no lane decides anything. Scales go into the queries, zeros
// into one number for each query head, once a run.

#if defined(RESTKV_KERNELS_HWY_BOXES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_BOXES_INL_H_
#undef RESTKV_KERNELS_HWY_BOXES_INL_H_
#else
#define RESTKV_KERNELS_HWY_BOXES_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/hwy/rows-inl.h"
#include "kernels/hwy/tiles-inl.h"
#include "kernels/hwy/types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

static_assert(kRunBlocks % kPanel == 0);

HWY_INLINE hn::Vec<I32> load_codes(const std::byte* p) {
  const Narrow<std::uint8_t> d8;
  return hn::PromoteTo(I32(), hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(p)));
}

// Columns of a run from some block on.
struct ByteColumns {
  const std::byte* data;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    return hn::ConvertTo(F32(), load_codes(data + k * kRunBlocks + v * kLanes));
  }
};
struct LowerColumns {
  const std::byte* data;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    const auto both = load_codes(data + k * kRunBlocks + v * kLanes);
    return hn::ConvertTo(F32(), hn::And(both, hn::Set(I32(), 15)));
  }
};
struct UpperColumns {
  const std::byte* data;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    const auto both = load_codes(data + k * kRunBlocks + v * kLanes);
    return hn::ConvertTo(F32(), hn::ShiftRight<4>(both));
  }
};

// kPanel blocks of a run.
struct BoxPanel {
  const float* queries;      // [group][2 * head_dim]: negative parts, then positive ones
  const float* offsets;      // [group]: what a query's sums begin with
  const std::byte* columns;  // from the panel's first block on
  // What the panel brings near while it is worked on: its share of the next run.
  const std::byte* ahead;
  std::size_t ahead_bytes;
};

template <class Columns>
struct Fetching {
  Columns columns;
  const std::byte* ahead;
  std::size_t step;
  HWY_INLINE Vf operator()(std::size_t k, std::size_t v) const {
    if (v == 0) __builtin_prefetch(ahead + k * step, 0, 3);
    return columns(k, v);
  }
};

template <SummaryType kType, std::size_t kHeads>
HWY_INLINE void add_products(const BoxPanel& panel, std::size_t head, std::size_t dim,
                             Sums<kHeads, 2>& sums) {
  const RowMajor left{panel.queries + head * 2 * dim, 2 * dim};
  if constexpr (kType == SummaryType::kInt4) {
    const Fetching<LowerColumns> lows{{panel.columns}, panel.ahead, panel.ahead_bytes / dim};
    multiply(left, lows, dim, sums);
    multiply(RowMajor{left.data + dim, left.stride}, UpperColumns{panel.columns}, dim, sums);
  } else if constexpr (kType == SummaryType::kInt8) {
    const Fetching<ByteColumns> both{{panel.columns}, panel.ahead, panel.ahead_bytes / (2 * dim)};
    multiply(left, both, 2 * dim, sums);
  } else {
    const auto* const halves = reinterpret_cast<const std::uint16_t*>(panel.columns);
    const Fetching<HalfColumns> both{
        {halves, kRunBlocks}, panel.ahead, panel.ahead_bytes / (2 * dim)};
    multiply(left, both, 2 * dim, sums);
  }
}

// Scores of query heads head .. head + kHeads - 1, merged with what merged[kPanel] has of the heads
// before them.
template <SummaryType kType, std::size_t kHeads>
void score_heads(const BoxScoreArgs& args, const BoxPanel& panel, std::size_t head, float* merged) {
  const F32 d;
  auto sums = zero_sums<kHeads, 2>();
  add_products<kType, kHeads>(panel, head, args.head_dim, sums);
  for (std::size_t v = 0; v < 2; ++v) {
    const auto score = [&](std::size_t h) HWY_ATTR {
      return hn::Add(sums.at[h][v], all(panel.offsets[head + h]));
    };
    const auto merge = [&](Vf a, Vf b) HWY_ATTR {
      return args.merge == HeadMerge::kMax ? hn::Max(a, b) : hn::Add(a, b);
    };
    float* const to = merged + v * kLanes;
    Vf one = head == 0 ? score(0) : merge(hn::Load(d, to), score(0));
    for (std::size_t h = 1; h < kHeads; ++h) one = merge(one, score(h));
    hn::Store(one, d, to);
  }
}

// score_heads for 1 to kMostHeads query heads.
template <SummaryType kType, std::size_t... kLess>
constexpr auto score_functions(std::index_sequence<kLess...> /*heads*/) {
  return std::array{&score_heads<kType, kLess + 1>...};
}

template <SummaryType kType>
void score_panel(const BoxScoreArgs& args, const BoxPanel& panel, float* merged) {
  constexpr auto kScore = score_functions<kType>(std::make_index_sequence<kMostHeads>());
  for_each_part(args.group, kMostHeads, [&](std::size_t head, std::size_t heads) HWY_ATTR {
    kScore[heads - 1](args, panel, head, merged);
  });
  if (args.merge == HeadMerge::kMean) {
    for (std::size_t v = 0; v < 2; ++v) {
      float* const to = merged + v * kLanes;
      hn::Store(hn::Div(hn::Load(F32(), to), all(static_cast<float>(args.group))), F32(), to);
    }
  }
}

// split[group][2 * head_dim]: min(q, 0), then max(q, 0).
void split_queries(const BoxScoreArgs& args, float* split) {
  const F32 d;
  const std::size_t dim = args.head_dim;
  for (std::size_t g = 0; g < args.group; ++g) {
    const float* const q = args.q + g * dim;
    float* const negative = split + g * 2 * dim;
    float* const positive = negative + dim;
    const std::size_t whole = whole_vectors(dim);
    for (std::size_t i = 0; i < whole; i += kLanes) {
      const Vf x = hn::LoadU(d, q + i);
      hn::StoreU(hn::Min(x, hn::Zero(d)), d, negative + i);
      hn::StoreU(hn::Max(x, hn::Zero(d)), d, positive + i);
    }
    for (std::size_t i = whole; i < dim; ++i) {
      negative[i] = q[i] < 0.0F ? q[i] : 0.0F;
      positive[i] = q[i] < 0.0F ? 0.0F : q[i];
    }
  }
}

// out[i] = a[i] * b[i].
void multiply_each(const float* a, const float* b, float* out, std::size_t n) {
  const F32 d;
  const std::size_t whole = whole_vectors(n);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  }
  for (std::size_t i = whole; i < n; ++i) out[i] = a[i] * b[i];
}

template <SummaryType kType>
void score_runs(const BoxScoreArgs& args) {
  constexpr std::size_t kPanelBytes = kPanel * (kType == SummaryType::kF16 ? 2 : 1);
  constexpr std::size_t kPanels = kRunBlocks / kPanel;
  const std::size_t width = 2 * args.head_dim;
  const std::size_t bytes = run_bytes(kType, args.head_dim);
  float* const split = args.scratch;                   // [group][width]
  float* const scaled = split + args.group * width;    // [group][width]
  float* const offsets = scaled + args.group * width;  // [group]
  float* const zeros = offsets + args.group;           // [width]
  float* const scales = zeros + width;                 // [width]
  split_queries(args, split);
  std::fill_n(offsets, args.group, 0.0F);
  for (std::size_t first = 0; first < args.blocks; first += kRunBlocks) {
    const std::byte* const run = args.runs + first / kRunBlocks * bytes;
    if constexpr (kType != SummaryType::kF16) {
      decode_row(KvType::kF16, run, zeros, width);
      decode_row(KvType::kF16, run + 2 * width, scales, width);
      for (std::size_t g = 0; g < args.group; ++g) {
        offsets[g] = dot(split + g * width, zeros, width);
        multiply_each(split + g * width, scales, scaled + g * width, width);
      }
    }
    const std::byte* const columns = run + run_head_bytes(kType, args.head_dim);
    const bool is_last = first + kRunBlocks >= args.blocks;
    const std::size_t n_panel = std::min(kPanels, (args.blocks - first + kPanel - 1) / kPanel);
    for (std::size_t i = 0; i < n_panel; ++i) {
      HWY_ALIGN float merged[kPanel];
      score_panel<kType>(args,
                         {.queries = kType == SummaryType::kF16 ? split : scaled,
                          .offsets = offsets,
                          .columns = columns + i * kPanelBytes,
                          .ahead = run + (is_last ? 0 : bytes) + i * (bytes / kPanels),
                          .ahead_bytes = bytes / kPanels},
                         merged);
      const std::size_t block = first + i * kPanel;
      std::copy_n(merged, std::min(kPanel, args.blocks - block), args.scores + block);
    }
  }
}

void score_boxes(const BoxScoreArgs& args) {
  switch (args.type) {
    case SummaryType::kF16: score_runs<SummaryType::kF16>(args); return;
    case SummaryType::kInt8: score_runs<SummaryType::kInt8>(args); return;
    case SummaryType::kInt4: score_runs<SummaryType::kInt4>(args); return;
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
