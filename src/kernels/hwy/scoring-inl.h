// What the eviction policies ask for. Compiled once per target. Keys or values are taken a panel of
// rows at a time: expanded to f32 and transposed, so that a lane is a row and the tile product of
// prefill serves here as well.

#if defined(RESTKV_KERNELS_HWY_SCORING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RESTKV_KERNELS_HWY_SCORING_INL_H_
#undef RESTKV_KERNELS_HWY_SCORING_INL_H_
#else
#define RESTKV_KERNELS_HWY_SCORING_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/hwy/rows-inl.h"
#include "kernels/hwy/tiles-inl.h"
#include "kernels/hwy/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace restkv::HWY_NAMESPACE {
namespace {

// A panel of rows, transposed: columns[d * kPanel + row].
struct RowPanel {
  HWY_ALIGN float rows[kPanel * kMaxHeadDim];
  HWY_ALIGN float columns[kPanel * kMaxHeadDim];
};

// Of rows outside [begin, end) it holds zeros.
void load_panel(TypedRows source, std::size_t first, std::size_t begin, std::size_t end,
                std::size_t head_dim, RowPanel& panel) {
  const std::size_t dim = round_up(head_dim, kLineFloats);
  expand_rows(source, first, kPanel, begin, end, head_dim, dim, panel.rows);
  transpose(panel.rows, dim, kPanel, panel.columns);
}

// Logits of kRows queries for the panel's first `count` keys.
template <std::size_t kRows>
void panel_logits(const WindowAttentionArgs& args, const RowPanel& panel, std::size_t query,
                  std::size_t first, std::size_t count) {
  const F32 d;
  const float scale = product_scale(args.rule);
  const float cap = args.rule.softcap;
  auto sums = zero_sums<kRows, 2>();
  multiply(RowMajor{args.q + query * args.head_dim, args.head_dim},
           FloatColumns{panel.columns, kPanel}, args.head_dim, sums);
  for (std::size_t r = 0; r < kRows; ++r) {
    HWY_ALIGN float logits[kPanel];
    for (std::size_t v = 0; v < 2; ++v) {
      const Vf scaled = hn::Mul(sums.at[r][v], all(scale));
      hn::Store(cap > 0.0F ? softcap(scaled, cap) : scaled, d, logits + v * kLanes);
    }
    std::copy_n(logits, count, args.out + (query + r) * args.rows + first);
  }
}

// Softmax in place over n logits at any address. Weights are added in f32 within a tile of 64
// columns only, and the tiles in f64: next to a weight near 1, such as a sink's, the many small
// ones of a long row would be rounded away.
void softmax(float* logits, std::size_t n) {
  const F32 d;
  const std::size_t whole = n / kLanes * kLanes;
  Vf largest = all(logits[0]);
  for (std::size_t i = 0; i < whole; i += kLanes) {
    largest = hn::Max(largest, hn::LoadU(d, logits + i));
  }
  float max = max_of(largest);
  for (std::size_t i = whole; i < n; ++i) max = std::max(max, logits[i]);
  double sum = 0;
  for (std::size_t first = 0; first < whole; first += kKeyTile) {
    Vf added = hn::Zero(d);
    for (std::size_t i = first; i < std::min(whole, first + kKeyTile); i += kLanes) {
      const Vf weight = exp(hn::Sub(hn::LoadU(d, logits + i), all(max)));
      hn::StoreU(weight, d, logits + i);
      added = hn::Add(added, weight);
    }
    sum += sum_of(added);
  }
  for (std::size_t i = whole; i < n; ++i) {
    logits[i] = hn::GetLane(exp(all(logits[i] - max)));
    sum += logits[i];
  }
  const auto factor = static_cast<float>(1.0 / sum);
  for (std::size_t i = 0; i < n; ++i) logits[i] *= factor;
}

void window_attention(const WindowAttentionArgs& args) {
  RowPanel panel;
  // Of the rows that some query sees.
  const std::size_t begin = *std::min_element(args.row_begin, args.row_begin + args.n_query);
  const std::size_t end = *std::max_element(args.row_end, args.row_end + args.n_query);
  for (std::size_t first = begin / kPanel * kPanel; first < end; first += kPanel) {
    load_panel(args.keys, first, begin, end, args.head_dim, panel);
    const std::size_t count = std::min(kPanel, args.rows - first);
    std::size_t query = 0;
    for (; query + kTileRows <= args.n_query; query += kTileRows) {
      panel_logits<kTileRows>(args, panel, query, first, count);
    }
    for (; query < args.n_query; ++query) panel_logits<1>(args, panel, query, first, count);
  }
  for (std::size_t i = 0; i < args.n_query; ++i) {
    float* const probabilities = args.out + i * args.rows;
    std::fill(probabilities, probabilities + args.row_begin[i], 0.0F);
    std::fill(probabilities + args.row_end[i], probabilities + args.rows, 0.0F);
    softmax(probabilities + args.row_begin[i], args.row_end[i] - args.row_begin[i]);
  }
}

// squares[2 vectors] += (R x)_d^2 for rows d = row .. row + kRows - 1 of R, which begin at column
// `row`.
template <std::size_t kRows>
HWY_INLINE void add_squares(const float* r, std::size_t head_dim, std::size_t row,
                            const RowPanel& panel, Sums<1, 2>& squares) {
  auto sums = zero_sums<kRows, 2>();
  multiply(RowMajor{r + row * head_dim + row, head_dim},
           FloatColumns{panel.columns + row * kPanel, kPanel}, head_dim - row, sums);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t v = 0; v < 2; ++v) {
      squares.at[0][v] = hn::MulAdd(sums.at[i][v], sums.at[i][v], squares.at[0][v]);
    }
  }
}

void output_distances(const float* r, const float* center, TypedRows values, std::size_t rows,
                      std::size_t head_dim, float* out) {
  const F32 d;
  RowPanel panel;
  for (std::size_t first = 0; first < rows; first += kPanel) {
    load_panel(values, first, 0, rows, head_dim, panel);
    auto squares = zero_sums<1, 2>();
    for (std::size_t column = 0; column < head_dim; ++column) {
      for (std::size_t v = 0; v < 2; ++v) {
        float* const at = panel.columns + column * kPanel + v * kLanes;
        const Vf offset = hn::Sub(all(center[column]), hn::Load(d, at));
        hn::Store(offset, d, at);
        if (r == nullptr) squares.at[0][v] = hn::MulAdd(offset, offset, squares.at[0][v]);
      }
    }
    if (r != nullptr) {
      std::size_t row = 0;
      for (; row + kTileRows <= head_dim; row += kTileRows) {
        add_squares<kTileRows>(r, head_dim, row, panel, squares);
      }
      for (; row < head_dim; ++row) add_squares<1>(r, head_dim, row, panel, squares);
    }
    HWY_ALIGN float distances[kPanel];
    for (std::size_t v = 0; v < 2; ++v) {
      hn::Store(hn::Sqrt(squares.at[0][v]), d, distances + v * kLanes);
    }
    std::copy_n(distances, std::min(kPanel, rows - first), out + first);
  }
}

// Sums of 64 rows at a time are added to the total, so that the rounding error of many rows grows
// with the number of tiles.
void weighted_sum(const float* weight, TypedRows values, std::size_t rows, std::size_t head_dim,
                  float* out) {
  float row[kMaxHeadDim];
  float tile[kMaxHeadDim];
  const std::size_t row_bytes = kv_row_bytes(values.type, head_dim);
  std::fill_n(out, head_dim, 0.0F);
  for (std::size_t first = 0; first < rows; first += kKeyTile) {
    std::fill_n(tile, head_dim, 0.0F);
    for (std::size_t j = first; j < std::min(rows, first + kKeyTile); ++j) {
      expand_row(values.type, values.data + j * row_bytes, head_dim, head_dim, row);
      axpy(weight[j], row, tile, head_dim);
    }
    add(tile, out, head_dim);
  }
}

// kRows of the values, expanded, as one side of the tile product. Components are added within each
// vector's lane, lanes at the end.
template <std::size_t kRows>
HWY_INLINE void project(const Projection& projection, const float* values, float* out) {
  Vf added[kRows];
  for (Vf& one : added) one = hn::Zero(F32());
  const RowMajor left{values, projection.head_dim};
  const std::size_t whole = projection.n_out / kPanel * kPanel;
  for (std::size_t column = 0; column < whole; column += kPanel) {
    auto sums = zero_sums<kRows, 2>();
    multiply(left, FloatColumns{projection.columns + column, projection.n_out}, projection.head_dim,
             sums);
    for (std::size_t r = 0; r < kRows; ++r) {
      added[r] = hn::Add(added[r], hn::Add(hn::Abs(sums.at[r][0]), hn::Abs(sums.at[r][1])));
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    out[r] = sum_of(added[r]);
    for (std::size_t column = whole; column < projection.n_out; ++column) {
      float component = 0.0F;
      for (std::size_t d = 0; d < projection.head_dim; ++d) {
        component += left(r, d) * projection.columns[d * projection.n_out + column];
      }
      out[r] += component < 0.0F ? -component : component;
    }
  }
}

void projected_sizes(const Projection& projection, TypedRows values, std::size_t rows, float* out) {
  const std::size_t dim = projection.head_dim;
  HWY_ALIGN float expanded[kTileRows * kMaxHeadDim];
  std::size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    expand_rows(values, row, kTileRows, 0, rows, dim, dim, expanded);
    project<kTileRows>(projection, expanded, out + row);
  }
  for (; row < rows; ++row) {
    expand_rows(values, row, 1, 0, rows, dim, dim, expanded);
    project<1>(projection, expanded, out + row);
  }
}

}  // namespace
}  // namespace restkv::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
