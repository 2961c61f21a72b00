#pragma once

// The operations of the table "ref", one for each entry of KernelTable and described there. Plain
// loops, one element at a time, in the order in which they are written.

#include <cstddef>

#include "kernels/kernels.h"

namespace restkv::ref {

// rows.cc
float dot(const float* a, const float* b, std::size_t n);
void axpy(float scale, const float* x, float* y, std::size_t n);
void rms_norm(const float* x, const float* weight, float eps, float* out, std::size_t n);
void silu_mul(float* gate, const float* up, std::size_t n);
void gelu_mul(float* gate, const float* up, std::size_t n);
void add(const float* x, float* y, std::size_t n);
void rope_adjacent(float* x, const float* cos_sin, std::size_t n_rot);
void rope_halves(float* x, const float* cos_sin, std::size_t n_rot);

// types.cc
void encode_row(KvType type, const float* x, std::byte* out, std::size_t n);
void decode_row(KvType type, const std::byte* x, float* out, std::size_t n);

// attention.cc
void prefill_attention(const PrefillAttentionArgs& args);
void sparse_attention(const SparseAttentionArgs& args);
void decode_attention(const DecodeAttentionArgs& args);
void window_attention(const WindowAttentionArgs& args);
void column_sums(const ColumnSumArgs& args);

// boxes.cc
void score_boxes(const BoxScoreArgs& args);

// packed.cc
void round_activations(const float* x, std::size_t n_in, const ActivationTile& tile,
                       std::size_t row);
void multiply_packed(const PackedProductArgs& args);

// scoring.cc
void output_distances(const float* r, const float* center, TypedRows values, std::size_t rows,
                      std::size_t head_dim, float* out);
void weighted_sum(const float* weight, TypedRows values, std::size_t rows, std::size_t head_dim,
                  float* out);
void projected_sizes(const Projection& projection, TypedRows values, std::size_t rows, float* out);

}  // namespace restkv::ref
