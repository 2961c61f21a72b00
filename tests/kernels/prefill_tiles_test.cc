// What is particular to attention of prefill by the tile unit: operands split into bf16. The tests
// of every table (prefill_test.cc, sparse_test.cc) take this table too.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/attention_tables.h"
#include "kernels/measure.h"
#include "kernels/prefill_blocks.h"

namespace restkv::kernel_test {
namespace {

class PrefillByTiles : public testing::Test {
 protected:
  void SetUp() override {
    if (tiles_.get() == nullptr) GTEST_SKIP() << "needs AVX-512 VNNI";
  }
  [[nodiscard]] const KernelTable& table() const { return *tiles_.get(); }

 private:
  TileTable tiles_;
};

// Every type that a cache may have, widths of models and odd ones, numbers of rows around the
// unit's 16 and 32 and around a tile of keys.
TEST_F(PrefillByTiles, TakesEveryTypeAndWidth) {
  Worst worst("prefill_attention by tiles, types and widths, relative L2");
  const std::vector<Shape> shapes = {{1, 17, 1, 0},   {1, 64, 33, 40},  {7, 64, 3, 130},
                                     {3, 80, 11, 52}, {2, 96, 17, 47},  {5, 100, 7, 70},
                                     {1, 128, 16, 1}, {2, 128, 31, 97}, {4, 256, 9, 63}};
  std::size_t turn = 0;
  for (const Shape& shape : shapes) {
    for (const KvType type :
         {KvType::kF32, KvType::kF16, KvType::kBf16, KvType::kQ8_0, KvType::kQ4_0}) {
      const bool in_blocks = type == KvType::kQ8_0 || type == KvType::kQ4_0;
      if (in_blocks && shape.head_dim % kQuantBlock != 0) continue;
      // Blocks of NaN are not stored: every row is seen.
      const Sight sight = in_blocks ? Sight::kCausal : kAllSights[turn++ % std::size(kAllSights)];
      const Block block = make_block(shape, sight, type, turn % 4 == 3 ? 20.0F : 0.0F, 1.0F);
      SCOPED_TRACE(name_of(block));
      EXPECT_LE(worst(relative_l2(outputs(table(), block), exact_outputs(block))), kTilesBudget);
    }
  }
}

// The logits of a block whose tokens see a single row each, [n_query][group]: a softmax of one row
// has its logit as the largest.
std::vector<float> lone_logits(const KernelTable& table, const Block& block) {
  const std::size_t rows = block.shape.n_query * block.shape.group;
  std::vector<float> out(block.q.size());
  std::vector<float> softmax(2 * rows);
  AlignedArray<float> scratch(block.scratch_size());
  PrefillAttentionArgs args = block.args(out.data(), scratch.data());
  args.softmax = softmax.data();
  table.prefill_attention(args);
  softmax.resize(rows);
  return softmax;
}

std::vector<double> exact_lone_logits(const Block& block) {
  std::vector<double> logits;
  const std::size_t head_dim = block.shape.head_dim;
  for (std::size_t i = 0; i < block.shape.n_query; ++i) {
    for (std::size_t g = 0; g < block.shape.group; ++g) {
      double product = 0;
      for (std::size_t d = 0; d < head_dim; ++d) {
        product += static_cast<double>(block.q[i * block.token_stride + g * head_dim + d]) *
                   block.keys.expanded[block.ranges.begin[i] * head_dim + d];
      }
      logits.push_back(product * block.rule.scale);
    }
  }
  return logits;
}

Block lone_rows(std::size_t head_dim, KvType type) {
  Block block = make_block({4, head_dim, kMaxQueryBlock, 30}, Sight::kCausal, type, 0.0F, 1.0F);
  for (std::size_t i = 0; i < kMaxQueryBlock; ++i) block.ranges.begin[i] = block.ranges.end[i] - 1;
  return block;
}

// Keys as those of Qwen2.5, where some channels have biases in the hundreds: products of 4000, 500
// with the scale, cancel to logits of some ten. With one product less the error is 0.01.
TEST_F(PrefillByTiles, LargeBiasesOfKeysMoveNoLogit) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    SCOPED_TRACE(kv_type_name(type));
    Block block = lone_rows(64, type);
    std::vector<float> keys = block.keys.expanded;
    Random random(11);
    for (float& key : keys) key = random.normal();
    for (std::size_t channel = 0; channel < 6; ++channel) {
      const std::size_t pair = channel / 2;
      const float size = 150.0F + 80.0F * static_cast<float>(pair);
      const float bias = channel % 2 == 0 ? size : -size;
      const float strength = 4000.0F / size;
      for (std::size_t i = channel; i < keys.size(); i += 64) keys[i] += bias;
      for (std::size_t i = 0; i < kMaxQueryBlock * 4; ++i) {
        float& q = block.q[i / 4 * block.token_stride + i % 4 * 64 + channel];
        q = strength + 0.05F * q;
      }
    }
    block.keys = make_rows(type, 64, keys);
    const std::vector<double> wanted = exact_lone_logits(block);
    const auto [low, high] = std::ranges::minmax(wanted);
    EXPECT_LT(high - low, 200.0) << "no such logits";
    EXPECT_GT(high - low, 5.0) << "no such logits";
    const auto largest_error = [&](const KernelTable& kernels) {
      const std::vector<float> got = lone_logits(kernels, block);
      double largest = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        largest = std::max(largest, std::abs(got[i] - wanted[i]));
      }
      return largest;
    };
    Worst by_vectors("logits of keys with biases, f32");
    for_each_table([&](const KernelTable& kernels) {
      if (in_tiles(kernels)) return;
      EXPECT_LE(by_vectors(largest_error(kernels)), 2e-4);
    });
    Worst by_tiles("logits of keys with biases, by tiles");
    EXPECT_LE(by_tiles(largest_error(table())), 1e-4);
  }
}

// Whole numbers of up to 11 bits as f16 has them: parts, products and sums are exact.
TEST_F(PrefillByTiles, LogitsOfWholeNumbersAreExact) {
  for (const std::size_t head_dim : {16U, 64U, 80U, 128U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      Block block = lone_rows(head_dim, type);
      SCOPED_TRACE(name_of(block));
      Random random(head_dim);
      block.rule.scale = 0.25F;
      block.q = random.integers(block.q.size(), 50);
      block.keys = make_rows(type, head_dim, random.integers(block.keys.expanded.size(), 2047));
      const std::vector<double> wanted = exact_lone_logits(block);
      const std::vector<float> got = lone_logits(table(), block);
      EXPECT_TRUE(std::ranges::equal(got, wanted));
    }
  }
}

}  // namespace
}  // namespace restkv::kernel_test
