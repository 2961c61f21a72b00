// Element types of keys and values: what a cache rounds to, and what that costs.

#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cache/kv_cache.h"
#include "engine/harness.h"

namespace restkv {
namespace {

// Of logits of decoded tokens against an f32 cache, for keys and for values. Measured at most, over
// the families below: f16 3e-7, bf16 2e-5, q8_0 2e-4, q4_0 5e-2.
double limit_of(KvType type) {
  switch (type) {
    case KvType::kF32: return 0;
    case KvType::kF16: return 1e-6;
    case KvType::kBf16: return 1e-4;
    case KvType::kQ8_0: return 1e-3;
    case KvType::kQ4_0: return 1e-1;
  }
  return 0;
}

class KvTypes : public testing::TestWithParam<RandomModel> {};

TEST_P(KvTypes, EachCostsWhatItsRoundingCosts) {
  TestEngine engine(GetParam());
  const auto tokens = random_tokens(100, GetParam().n_vocab, 1);
  const auto next = random_tokens(30, GetParam().n_vocab, 2);
  auto exact = engine.prefill(tokens, full_cache(KvType::kF32));
  const auto expected = engine.decode(exact.sequence, next);
  const auto error_of = [&](KvType type_k, KvType type_v) {
    KvOptions options = full_cache();
    options.type_k = type_k;
    options.type_v = type_v;
    auto run = engine.prefill(tokens, options);
    return mean_square_error(engine.decode(run.sequence, next), expected);
  };
  for (const KvType type : kAllKvTypes) {
    const double keys = error_of(type, KvType::kF32);
    const double values = error_of(KvType::kF32, type);
    const double both = error_of(type, type);
    const std::string name(kv_type_name(type));
    RecordProperty(name + "_keys", std::to_string(keys * 1e9));
    RecordProperty(name + "_values", std::to_string(values * 1e9));
    RecordProperty(name + "_both", std::to_string(both * 1e9));
    EXPECT_LE(keys, limit_of(type)) << name << " keys";
    EXPECT_LE(values, limit_of(type)) << name << " values";
    EXPECT_LE(both, 2 * limit_of(type)) << name;
    if (type == KvType::kF32) continue;
    EXPECT_GT(keys, 0) << name;
    EXPECT_GT(values, 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, KvTypes,
                         testing::Values(random_llama(), random_qwen2(), random_gemma3()),
                         family_name);

ggml_type ggml_type_of(KvType type) {
  switch (type) {
    case KvType::kF32: return GGML_TYPE_F32;
    case KvType::kF16: return GGML_TYPE_F16;
    case KvType::kBf16: return GGML_TYPE_BF16;
    case KvType::kQ8_0: return GGML_TYPE_Q8_0;
    case KvType::kQ4_0: return GGML_TYPE_Q4_0;
  }
  return GGML_TYPE_COUNT;
}

// A layer's f16 rows, stored in each type: byte for byte what ggml makes of them.
TEST(KvRows, AreRoundedAsGgmlRoundsTheRowsOfThePrefill) {
  constexpr int kDim = 64;
  constexpr std::uint32_t kRows = 40;
  const auto counter = std::make_shared<ByteCounter>();
  LayerRows layer({.n_kv_head = 1, .head_dim = kDim, .type = KvType::kF16}, *counter);
  ASSERT_TRUE(layer.reset(std::vector<std::size_t>{kRows}).ok());
  std::vector<std::uint32_t> all;
  std::vector<float> rounded(std::size_t{kRows} * kDim);  // [rows, dim] after f16
  for (std::uint32_t i = 0; i < kRows; ++i) {
    std::vector<float> key(kDim);
    for (std::size_t d = 0; d < kDim; ++d) key[d] = std::sin(float(i * 64 + d)) * float(i);
    layer.append(best_table(), 0, static_cast<Position>(i), key.data(), key.data(), 0.0F);
    all.push_back(i);
    std::vector<ggml_fp16_t> half(kDim);
    ggml_fp32_to_fp16_row(key.data(), half.data(), kDim);
    ggml_fp16_to_fp32_row(half.data(), rounded.data() + std::size_t{i} * kDim, kDim);
  }
  for (const KvType type : kAllKvTypes) {
    KvCache cache({.n_layer = 1,
                   .n_kv_head = 1,
                   .head_dim = kDim,
                   .type_k = type,
                   .type_v = type,
                   .with_column_sums = false,
                   .sliding_window = {0}},
                  counter);
    ASSERT_TRUE(cache.store(best_table(), 0, 0, layer, all).ok());
    KvCache::HeadPages pages;
    cache.pages(0, 0, pages);
    const std::size_t row_bytes = kv_row_bytes(type, kDim);
    for (std::uint32_t i = 0; i < kRows; ++i) {
      std::vector<std::byte> expected(row_bytes);
      ggml_quantize_chunk(ggml_type_of(type), rounded.data() + std::size_t{i} * kDim,
                          expected.data(), 0, 1, kDim, nullptr);
      const PageView& page = pages.pages[i / kPageRows];
      const std::size_t at = i % kPageRows * row_bytes;
      EXPECT_EQ(std::memcmp(page.keys + at, expected.data(), row_bytes), 0)
          << kv_type_name(type) << " row " << i;
      EXPECT_EQ(std::memcmp(page.values + at, expected.data(), row_bytes), 0)
          << kv_type_name(type) << " row " << i;
    }
  }
}

}  // namespace
}  // namespace restkv
