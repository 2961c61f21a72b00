// Attention of a block of queries, and the sums of its columns: every table against attention by
// its definition in double. docs/kernels.md repeats the error budgets.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/attention_tables.h"
#include "kernels/measure.h"
#include "kernels/prefill_blocks.h"

namespace restkv::kernel_test {
namespace {

// Every group size, head_dim around vectors and lines, blocks around tiles of rows, and numbers of
// rows around tiles of keys.
constexpr Shape kShapes[] = {
    {1, 2, 1, 0},     {1, 4, 2, 3},     {2, 6, 5, 62},    {4, 8, 64, 0},    {7, 16, 13, 63},
    {8, 24, 6, 64},   {16, 32, 7, 65},  {1, 40, 64, 130}, {2, 64, 12, 127}, {4, 80, 11, 30},
    {7, 96, 3, 200},  {8, 100, 4, 100}, {16, 128, 2, 90}, {1, 256, 9, 70},  {2, 512, 3, 66},
    {1, 510, 1, 129}, {7, 64, 1, 300},  {3, 18, 25, 1},   {1, 64, 63, 64},
};

void expect_near_exact(const Block& block, WorstOfTables& worst) {
  SCOPED_TRACE(name_of(block));
  const std::vector<double> wanted = exact_outputs(block);
  for_each_attention_table([&](const KernelTable& table) {
    EXPECT_LE(worst(table, relative_l2(outputs(table, block), wanted)),
              attention_budget(table, block.rule));
  });
}

TEST(PrefillAttention, IsNearTheDefinition) {
  WorstOfTables worst("prefill_attention");
  std::size_t turn = 0;
  for (const Shape& shape : kShapes) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      const Sight sight = kAllSights[turn++ % std::size(kAllSights)];
      expect_near_exact(make_block(shape, sight, type, 0.0F, 1.0F), worst);
    }
  }
}

// The widths of heads that models have, both types, lengths around a tile.
TEST(PrefillAttention, TakesEveryUsualWidth) {
  WorstOfTables worst("prefill_attention, usual widths");
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      for (const std::size_t rows : {1U, 31U, 33U, 75U}) {
        const std::size_t n_query = std::min<std::size_t>(rows, 7);
        expect_near_exact(
            make_block({3, head_dim, n_query, rows - n_query}, Sight::kCausal, type, 0.0F, 1.0F),
            worst);
      }
    }
  }
}

// Equal weights over a power of two of rows of small whole numbers: every operation is exact.
TEST(PrefillAttention, OfZeroQueriesIsTheExactMean) {
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      for (const std::size_t rows : {1U, 2U, 32U, 64U, 128U}) {
        const std::size_t n_query = std::min<std::size_t>(rows, 5);
        Block block =
            make_block({2, head_dim, n_query, rows - n_query}, Sight::kEqual, type, 0.0F, 1.0F);
        SCOPED_TRACE(name_of(block));
        std::ranges::fill(block.q, 0.0F);
        const std::vector<float> values = whole_numbers(type, rows * head_dim);
        block.values = make_rows(type, head_dim, values);
        ASSERT_EQ(block.values.expanded, values);
        const std::vector<float> mean = mean_of_rows(values, head_dim);
        for_each_attention_table([&](const KernelTable& table) {
          const std::vector<float> out = outputs(table, block);
          for (std::size_t i = 0; i < n_query; ++i) {
            for (std::size_t g = 0; g < 2; ++g) {
              const auto at =
                  out.begin() + static_cast<std::ptrdiff_t>(i * block.token_stride + g * head_dim);
              EXPECT_TRUE(std::equal(mean.begin(), mean.end(), at)) << i << ", " << g;
            }
          }
        });
      }
    }
  }
}

TEST(PrefillAttention, SeesWhatEachKindOfRangeShows) {
  WorstOfTables worst("prefill_attention, kinds of ranges");
  for (const Sight sight : kAllSights) {
    for (const Shape& shape : {Shape{2, 20, 64, 90}, Shape{7, 12, 9, 150}, Shape{1, 8, 1, 200}}) {
      expect_near_exact(make_block(shape, sight, KvType::kF16, 0.0F, 1.0F), worst);
    }
  }
}

TEST(PrefillAttention, CapsLogits) {
  WorstOfTables worst("prefill_attention, soft-capped");
  for (const Shape& shape : {Shape{2, 16, 20, 70}, Shape{4, 256, 5, 80}}) {
    for (const float deviation : {1.0F, 30.0F}) {  // 30: many beyond the cap
      expect_near_exact(make_block(shape, Sight::kCausal, KvType::kF16, 20.0F, deviation), worst);
    }
  }
}

// A row that takes nearly all, before many that weigh e^-17 each: less than 2^-24, so that added
// one by one to what the first gave they would all be lost, and with them 1e-3 of the output. Added
// up by tiles of 64 rows the output and the sum of weights lose half a bit for each tile; the tile
// unit adds them one by one.
TEST(PrefillAttention, DoesNotLoseTheMany) {
  constexpr std::size_t kRows = 30'000;
  const double lost = std::ldexp(1.0, -24);
  for (const KvType type : {KvType::kF32, KvType::kF16}) {
    Block block = make_block({1, 2, 1, kRows - 1}, Sight::kEqual, type, 0.0F, 1.0F);
    std::vector<float> keys(kRows * 2, 0.0F);
    for (std::size_t j = 1; j < kRows; ++j) keys[j * 2] = -17.0F;
    block.q = {1.0F, 0.0F, 0.0F, 0.0F, 0.0F};
    block.keys = make_rows(type, 2, keys);
    block.values = make_rows(type, 2, std::vector<float>(kRows * 2, 1.0F));
    block.rule.scale = 1.0F;
    for_each_attention_table([&](const KernelTable& table) {
      const std::vector<float> out = outputs(table, block);
      EXPECT_NEAR(out[0], 1.0, lost * (in_tiles(table) ? kRows : 2 * (kRows / 64) + 25));
    });
  }
}

// What is no number must not pass for a row without weight: the engine looks at the logits.
TEST(PrefillAttention, OfAKeyThatIsNoNumberIsNoNumber) {
  constexpr std::size_t kRows = 150;
  for (const float odd :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      for (const std::size_t row : {0U, 17U, 63U, 100U, 149U}) {
        Block block = make_block({2, 8, 1, kRows - 1}, Sight::kEqual, type, 0.0F, 1.0F);
        std::ranges::fill(block.q, 1.0F);
        std::vector<float> keys = block.keys.expanded;
        keys[row * 8 + 3] = odd;
        block.keys = make_rows(type, 8, keys);
        SCOPED_TRACE(std::to_string(odd) + " in row " + std::to_string(row));
        for_each_attention_table(
            [&](const KernelTable& table) { EXPECT_TRUE(std::isnan(outputs(table, block)[0])); });
      }
    }
  }
}

// Logits that are exact in f32 although they reach +-10,000: whole numbers times a power of two.
TEST(PrefillAttention, BearsExtremeLogits) {
  WorstOfTables worst("prefill_attention, extreme logits");
  for (const float softcap : {0.0F, 50.0F}) {
    Block block = make_block({4, 64, 20, 100}, Sight::kUneven, KvType::kF16, softcap, 1.0F);
    Random random(8);
    block.q = random.integers(block.q.size(), 127);
    block.keys = make_rows(KvType::kF16, 64, random.integers(block.keys.expanded.size(), 15));
    block.rule.scale = 2.0F;
    expect_near_exact(block, worst);
  }
}

// A block of one query and blocks that begin and end anywhere give a query the same bits as the
// block of all.
TEST(PrefillAttention, ResultOfAQueryDoesNotDependOnItsBlock) {
  for (const Sight sight : kAllSights) {
    for (const Shape& shape : {Shape{1, 40, 64, 90}, Shape{7, 6, 23, 60}, Shape{4, 64, 30, 0}}) {
      const Block whole = make_block(shape, sight, KvType::kF16, 0.0F, 2.0F);
      SCOPED_TRACE(name_of(whole));
      for_each_attention_table([&](const KernelTable& table) {
        const std::vector<float> wanted = outputs(table, whole);
        AlignedArray<float> scratch(whole.scratch_size());
        for (const std::size_t length : {1U, 2U, 5U, 17U}) {
          std::vector<float> out(wanted.size());
          for (std::size_t first = 0; first < shape.n_query; first += length) {
            PrefillAttentionArgs part = whole.args(out.data(), scratch.data());
            part.q += first * whole.token_stride;
            part.out += first * whole.token_stride;
            part.n_query = std::min(length, shape.n_query - first);
            part.row_begin += first;
            part.row_end += first;
            table.prefill_attention(part);
          }
          EXPECT_TRUE(same_bits(out, wanted)) << "blocks of " << length;
        }
      });
    }
  }
}

// The scratch is enough, and not more is touched, for the largest block of every group and width.
TEST(PrefillAttention, ScratchIsEnough) {
  for_each_attention_table([](const KernelTable& table) {
    for (const std::size_t group : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 16U}) {
      for (const std::size_t head_dim : {2U, 6U, 16U, 18U, 100U, 512U}) {
        if (group > 3 && head_dim > 100 && group != 7) continue;  // slow
        SCOPED_TRACE("group " + std::to_string(group) + ", " + std::to_string(head_dim));
        const Block block = make_block({group, head_dim, kMaxQueryBlock, 0}, Sight::kSliding,
                                       KvType::kF32, 0.0F, 1.0F);
        const std::vector<float> out = outputs(table, block);
        EXPECT_TRUE(std::ranges::all_of(out, [](float value) { return std::isfinite(value); }));
        Guarded<float> sums(std::vector<float>(block.ranges.rows()), 1);
        Guarded<float> scratch(block.scratch_size());
        table.column_sums({.block = block.args(nullptr, scratch.data()), .sums = sums.data()});
        EXPECT_TRUE(sums.intact() && scratch.intact());
      }
    }
  });
}

TEST(ColumnSums, AreNearTheDefinition) {
  Worst worst("column_sums, relative L2");
  std::size_t turn = 0;
  for (const Shape& shape : kShapes) {
    for (const auto& [softcap, type] :
         std::vector<std::pair<float, KvType>>{{0.0F, KvType::kF16},
                                               {0.0F, KvType::kF32},
                                               {15.0F, KvType::kF16},
                                               {15.0F, KvType::kF32}}) {
      const Sight sight = kAllSights[turn++ % std::size(kAllSights)];
      const Block block = make_block(shape, sight, type, softcap, 2.0F);
      SCOPED_TRACE(name_of(block));
      std::vector<float> before(block.ranges.rows());
      for (std::size_t j = 0; j < before.size(); ++j)
        before[j] = 0.125F * static_cast<float>(j % 3);
      const std::vector<double> wanted = exact_column_sums(block, before);
      for_each_attention_table([&](const KernelTable& table) {
        Guarded<float> sums(before, 1);
        Guarded<float> scratch(block.scratch_size());
        table.column_sums({.block = block.args(nullptr, scratch.data()), .sums = sums.data()});
        EXPECT_TRUE(sums.intact() && scratch.intact());
        EXPECT_LE(worst(relative_l2(sums.span(), wanted)), 1e-6);
        const std::size_t unseen = block.ranges.begin.front();
        EXPECT_TRUE(same_bits(sums.span().first(unseen), std::span(before).first(unseen)));
        // With what the attention of the same block knows already.
        Guarded<float> softmax(2 * shape.n_query * shape.group);
        std::vector<float> out(block.q.size());
        PrefillAttentionArgs args = block.args(out.data(), scratch.data());
        args.softmax = softmax.data();
        table.prefill_attention(args);
        EXPECT_TRUE(softmax.intact());
        Guarded<float> shorter(before, 1);
        args.out = nullptr;
        args.values = {};
        table.column_sums({.block = args, .sums = shorter.data()});
        EXPECT_TRUE(shorter.intact() && scratch.intact());
        EXPECT_LE(relative_l2(shorter.span(), wanted), 1e-6);
        if (table.name != "ref" && !in_tiles(table)) {  // else attention has products of its own
          EXPECT_TRUE(same_bits(shorter.span(), sums.span()));
        }
        // With the weights themselves, which the attention is not to feel.
        Guarded<float> weights(kept_weights_size(shape.group, shape.n_query, block.ranges.rows()));
        std::vector<float> same_out(block.q.size());
        args = block.args(same_out.data(), scratch.data());
        args.softmax = softmax.data();
        args.weights = weights.data();
        table.prefill_attention(args);
        EXPECT_TRUE(weights.intact() && scratch.intact());
        EXPECT_TRUE(same_bits(std::span<const float>(same_out), out));
        Guarded<float> kept(before, 1);
        args.out = nullptr;
        args.values = {};
        if (table.name != "ref") args.keys = {};
        table.column_sums({.block = args, .sums = kept.data()});
        EXPECT_TRUE(kept.intact() && scratch.intact());
        EXPECT_LE(worst(relative_l2(kept.span(), wanted)), 1e-6);
        EXPECT_TRUE(same_bits(kept.span().first(unseen), std::span(before).first(unseen)));
      });
    }
  }
}

// Equal weights of a power of two of rows, and of heads, are exact; whatever of the softmax is
// known before.
TEST(ColumnSums, OfZeroQueriesAreExact) {
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for (const KvType type : {KvType::kF32, KvType::kF16}) {
      for (const std::size_t group : {1U, 2U, 8U}) {
        for (const std::size_t rows : {1U, 2U, 32U, 64U, 128U}) {
          const std::size_t n_query = std::min<std::size_t>(rows, 5);
          Block block = make_block({group, head_dim, n_query, rows - n_query}, Sight::kEqual, type,
                                   0.0F, 1.0F);
          SCOPED_TRACE(name_of(block));
          std::ranges::fill(block.q, 0.0F);
          const std::vector<float> wanted(
              rows, 0.125F + static_cast<float>(n_query) / static_cast<float>(rows));
          for_each_attention_table([&](const KernelTable& table) {
            Guarded<float> scratch(block.scratch_size());
            const auto sums_of = [&](const PrefillAttentionArgs& args) {
              Guarded<float> sums(std::vector<float>(rows, 0.125F), 1);
              table.column_sums({.block = args, .sums = sums.data()});
              EXPECT_TRUE(sums.intact() && scratch.intact());
              return sums.values();
            };
            EXPECT_EQ(sums_of(block.args(nullptr, scratch.data())), wanted);
            std::vector<float> out(block.q.size());
            AlignedArray<float> softmax(2 * n_query * group);
            AlignedArray<float> weights(kept_weights_size(group, n_query, rows));
            PrefillAttentionArgs args = block.args(out.data(), scratch.data());
            args.softmax = softmax.data();
            args.weights = weights.data();
            table.prefill_attention(args);
            args.out = nullptr;
            args.values = {};
            EXPECT_EQ(sums_of(args), wanted) << "of kept weights";
            args.weights = nullptr;
            EXPECT_EQ(sums_of(args), wanted) << "of a known softmax";
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace restkv::kernel_test
