// Attention of one token's query heads over pages: every table against attention by its definition
// in double. docs/kernels.md repeats the error budgets.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernels/decode_segments.h"

namespace restkv::kernel_test {
namespace {

void expect_near_exact(const Setting& setting, double budget, Worst& worst) {
  SCOPED_TRACE(name_of(setting));
  const Segment segment = make_segment(setting);
  const std::size_t skip = std::min<std::size_t>(setting.rows - 1, setting.rows % 4);
  const Pages pages(segment, 0, setting.rows, {16});
  const std::vector<double> wanted = exact_outputs(segment, skip);
  for_each_table([&](const KernelTable& table) {
    const std::vector<float> out = merged(segment, partial_of(table, segment, pages, skip));
    EXPECT_LE(worst(relative_l2(out, wanted)), budget);
  });
}

TEST(DecodeAttention, TakesEveryGroupAndWidth) {
  Worst worst("decode_attention, groups and widths, relative L2");
  // Every form of keys and values. Groups larger than one product or one pass takes.
  struct Form {
    std::size_t head_dim;
    KvType type;
  };
  constexpr Form kForms[] = {{40, KvType::kF32},  {40, KvType::kF16},  {64, KvType::kF16},
                             {64, KvType::kBf16}, {64, KvType::kQ8_0}, {64, KvType::kQ4_0}};
  for (const Form& form : kForms) {
    const auto try_group = [&](std::size_t group, std::size_t rows) {
      expect_near_exact({.group = group,
                         .head_dim = form.head_dim,
                         .rows = rows,
                         .type_k = form.type,
                         .type_v = form.type},
                        kBudget, worst);
    };
    for (std::size_t group = 1; group <= 17; ++group) try_group(group, 70);
    for (const std::size_t group : {24U, 25U, 32U, 33U, 49U, 65U}) try_group(group, 40);
  }
  for (const std::size_t head_dim : {32U, 160U, 512U}) {
    for (const std::size_t rows : {1U, 33U, 37U}) {
      expect_near_exact({.group = 3,
                         .head_dim = head_dim,
                         .rows = rows,
                         .type_k = KvType::kQ8_0,
                         .type_v = KvType::kQ8_0},
                        kBudget, worst);
    }
  }
  for (const std::size_t head_dim :
       {2U, 4U, 6U, 10U, 16U, 18U, 24U, 80U, 100U, 128U, 256U, 510U, 512U}) {
    expect_near_exact({.group = 2, .head_dim = head_dim, .rows = 37}, kBudget, worst);
    expect_near_exact({.group = 5, .head_dim = head_dim, .rows = 9, .type_k = KvType::kF32},
                      kBudget, worst);
  }
  for (std::size_t rows = 1; rows <= 70; ++rows) {
    expect_near_exact({.group = 4, .head_dim = 12, .rows = rows, .type_v = KvType::kBf16}, kBudget,
                      worst);
  }
}

// The widths of heads that models have, every pair of types that goes with them, lengths around a
// tile, groups of one product and of two.
TEST(DecodeAttention, ReadsEveryPairOfTypesAtEveryUsualWidth) {
  Worst worst("decode_attention, usual widths, relative L2");
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for_each_pair(head_dim, [&](KvType type_k, KvType type_v) {
      for (const std::size_t group : {1U, 3U, 7U}) {
        for (const std::size_t rows : {1U, 31U, 33U, 75U}) {
          expect_near_exact({.group = group,
                             .head_dim = head_dim,
                             .rows = rows,
                             .type_k = type_k,
                             .type_v = type_v},
                            kBudget, worst);
        }
      }
    });
  }
}

// Widths that are no whole vectors, or whole ones but no whole panels, in the types of 16 bits.
TEST(DecodeAttention, ReadsEveryPairOfTypesAtUnusualWidths) {
  Worst worst("decode_attention, unusual widths, relative L2");
  for (const std::size_t head_dim : {2U, 8U, 18U, 24U, 40U, 48U, 72U, 100U}) {
    for_each_pair(head_dim, [&](KvType type_k, KvType type_v) {
      for (const std::size_t group : {1U, 5U, 8U}) {
        expect_near_exact(
            {.group = group, .head_dim = head_dim, .rows = 41, .type_k = type_k, .type_v = type_v},
            kBudget, worst);
      }
    });
  }
}

// As PrefillAttention.DoesNotLoseTheMany: half a bit of both for each tile of 32 rows.
TEST(DecodeAttention, DoesNotLoseTheMany) {
  constexpr std::size_t kRows = 30'000;
  constexpr std::size_t kHeadDim = 32;
  for (const KvType type : kAllKvTypes) {
    Segment segment = make_segment(
        {.group = 2, .head_dim = kHeadDim, .rows = kRows, .type_k = type, .type_v = type});
    std::vector<float> keys(kRows * kHeadDim, 0.0F);
    for (std::size_t j = 1; j < kRows; ++j) keys[j * kHeadDim] = -16.0F;  // exact in every type
    std::ranges::fill(segment.q, 0.0F);
    for (std::size_t g = 0; g < 2; ++g) segment.q[g * kHeadDim] = 17.0F / 16.0F;
    segment.keys = make_rows(type, kHeadDim, keys);
    segment.values = make_rows(type, kHeadDim, std::vector<float>(kRows * kHeadDim, -1.0F));
    segment.rule.scale = 1.0F;
    SCOPED_TRACE(kv_type_name(type));
    const Pages pages(segment, 0, kRows, {16});
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> out = merged(segment, partial_of(table, segment, pages, 0));
      EXPECT_NEAR(out[kHeadDim], -1.0, std::ldexp(1.0, -24) * (2 * (kRows / 32) + 25));
    });
  }
}

// As PrefillAttention.OfAKeyThatIsNoNumberIsNoNumber, beside segments that are all numbers.
TEST(DecodeAttention, OfAKeyThatIsNoNumberIsNoNumber) {
  constexpr std::size_t kRows = 70;
  for (const float odd :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBf16}) {
      for (const std::size_t row : {0U, 17U, 31U, 40U, 69U}) {
        Segment segment = make_segment(
            {.group = 3, .head_dim = 8, .rows = kRows, .type_k = type, .type_v = type});
        std::ranges::fill(segment.q, 1.0F);
        const Pages whole(segment, 0, kRows, {16});
        std::vector<float> keys = segment.keys.expanded;
        keys[row * 8 + 3] = odd;
        segment.keys = make_rows(type, 8, keys);
        const Pages pages(segment, 0, kRows, {16});
        SCOPED_TRACE(std::to_string(odd) + " in row " + std::to_string(row));
        for_each_table([&](const KernelTable& table) {
          std::vector<float> partials = partial_of(table, segment, whole, 0);
          const std::vector<float> with_odd = partial_of(table, segment, pages, 0);
          partials.insert(partials.end(), with_odd.begin(), with_odd.end());
          EXPECT_TRUE(std::isnan(merged(segment, partials)[0]));
        });
      }
    }
  }
}

// Equal weights over a power of two of rows of small whole numbers: every operation is exact.
TEST(DecodeAttention, OfZeroQueriesIsTheExactMean) {
  for (const std::size_t head_dim : {64U, 80U, 96U, 128U, 256U}) {
    for_each_pair(head_dim, [&](KvType type_k, KvType type_v) {
      for (const std::size_t rows : {1U, 2U, 32U, 64U, 128U}) {
        const Setting setting{
            .group = 2, .head_dim = head_dim, .rows = rows, .type_k = type_k, .type_v = type_v};
        SCOPED_TRACE(name_of(setting));
        Segment segment = make_segment(setting);
        std::ranges::fill(segment.q, 0.0F);
        const std::vector<float> values = whole_numbers(type_v, rows * head_dim);
        segment.values = make_rows(type_v, head_dim, values);
        ASSERT_EQ(segment.values.expanded, values);
        std::vector<float> wanted = mean_of_rows(values, head_dim);
        const std::vector<float> once = wanted;
        wanted.insert(wanted.end(), once.begin(), once.end());  // for each of the heads
        for_each_table([&](const KernelTable& table) {
          EXPECT_EQ(merged(segment, partial_of(table, segment, Pages(segment, 0, rows, {16}), 0)),
                    wanted);
          std::vector<float> parts =
              partial_of(table, segment, Pages(segment, 0, rows / 2, {16}), 0);
          const std::vector<float> rest =
              partial_of(table, segment, Pages(segment, rows / 2, rows, {16}), 0);
          parts.insert(parts.end(), rest.begin(), rest.end());
          EXPECT_EQ(merged(segment, parts), wanted) << "in two parts";
        });
      }
    });
  }
}

TEST(DecodeAttention, CapsLogits) {
  Worst worst("decode_attention, soft-capped, relative L2");
  for (const float deviation : {1.0F, 30.0F}) {
    expect_near_exact(
        {.group = 2, .head_dim = 64, .rows = 90, .softcap = 20.0F, .deviation = deviation},
        kCappedBudget, worst);
  }
}

TEST(DecodeAttention, BearsExtremeLogits) {
  Worst worst("decode_attention, extreme logits, relative L2");
  for (const float softcap : {0.0F, 50.0F}) {
    Segment segment = make_segment({.group = 4, .head_dim = 64, .rows = 90, .softcap = softcap});
    Random random(8);
    segment.q = random.integers(segment.q.size(), 127);
    segment.keys = make_rows(KvType::kF16, 64, random.integers(segment.keys.expanded.size(), 15));
    segment.rule.scale = 2.0F;
    const std::vector<double> wanted = exact_outputs(segment, 0);
    const Pages pages(segment, 0, segment.rows(), {16});
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> out = merged(segment, partial_of(table, segment, pages, 0));
      EXPECT_LE(worst(relative_l2(out, wanted)), kBudget);
    });
  }
}

TEST(DecodeAttention, PartialsAreAsDescribed) {
  constexpr std::size_t kRows = 50;
  const Segment segment = make_segment({.group = 2, .head_dim = 16, .rows = kRows});
  for_each_table([&](const KernelTable& table) {
    const std::vector<float> partial =
        partial_of(table, segment, Pages(segment, 0, kRows, {16}), 0);
    for (std::size_t g = 0; g < segment.group; ++g) {
      const float* const q = segment.q.data() + g * 16;
      const std::vector<double> exact =
          exact_probabilities(q, segment.keys, 0, kRows, segment.rule);
      // The largest weight is 1 / sum, and its logit is the maximum.
      const auto largest = std::ranges::max_element(exact);
      const auto row = static_cast<std::size_t>(largest - exact.begin());
      double logit = 0;
      for (std::size_t d = 0; d < 16; ++d) {
        logit += static_cast<double>(q[d]) * segment.keys.expanded[row * 16 + d];
      }
      EXPECT_NEAR(partial[g], logit * segment.rule.scale, 1e-6);
      EXPECT_NEAR(partial[segment.group + g] * *largest, 1.0, 1e-6);
    }
  });
}

TEST(DecodeAttention, SegmentWithoutRowsIsEmpty) {
  const Segment segment = make_segment({.group = 3, .head_dim = 32, .rows = 5});
  for_each_table([&](const KernelTable& table) {
    for (const std::size_t skip : {0U, 5U}) {
      const Pages pages(segment, 0, skip, {5});
      const std::vector<float> partial = partial_of(table, segment, pages, skip);
      for (std::size_t g = 0; g < segment.group; ++g) {
        EXPECT_EQ(partial[g], -std::numeric_limits<float>::infinity());
        EXPECT_EQ(partial[segment.group + g], 0.0F);
      }
      EXPECT_EQ(merged(segment, partial), std::vector<float>(segment.q.size()));
    }
  });
}

TEST(MergeDecode, PartsAreTheWhole) {
  constexpr std::size_t kRows = 150;
  Worst worst("merge_decode, relative L2");
  const Segment segment =
      make_segment({.group = 7, .head_dim = 64, .rows = kRows, .deviation = 4.0F});
  const std::vector<double> wanted = exact_outputs(segment, 0);
  for_each_table([&](const KernelTable& table) {
    const Pages nothing(segment, 0, 0, {5});
    const std::vector<float> empty = partial_of(table, segment, nothing, 0);
    for (const std::size_t length : {1U, 16U, 40U, 149U, 150U}) {
      std::vector<float> partials;
      std::vector<float> with_empty = empty;
      for (std::size_t first = 0; first < kRows; first += length) {
        const Pages pages(segment, first, std::min(first + length, kRows), {16});
        const std::vector<float> partial = partial_of(table, segment, pages, 0);
        partials.insert(partials.end(), partial.begin(), partial.end());
        with_empty.insert(with_empty.end(), partial.begin(), partial.end());
        with_empty.insert(with_empty.end(), empty.begin(), empty.end());
      }
      const std::vector<float> out = merged(segment, partials);
      EXPECT_LE(worst(relative_l2(out, wanted)), kBudget) << length;
      EXPECT_TRUE(same_bits(merged(segment, with_empty), out)) << length;
    }
  });
}

// Blocks of all sizes beside one another, and of zeros: each has its own scale. Keys of each type
// beside values of each.
TEST(DecodeAttention, TakesScalesOfAllSizes) {
  Worst worst("decode_attention, scales of all sizes, relative L2");
  const Setting setting = {.group = 7, .head_dim = 96, .rows = 83};
  Random random(5);
  const auto blocks = [&](KvType type, const std::vector<float>& sizes) {
    std::vector<float> elements = random.normals(setting.rows * setting.head_dim);
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i] *= sizes[i / kQuantBlock % sizes.size()];
    }
    return make_rows(type, setting.head_dim, elements);
  };
  for (const KvType type_k : kAllKvTypes) {
    for (const KvType type_v : kAllKvTypes) {
      SCOPED_TRACE(std::string(kv_type_name(type_k)) + " and " + std::string(kv_type_name(type_v)));
      Segment segment = make_segment(setting);
      segment.keys = blocks(type_k, {1.0F, 0.0F, 1e-3F, 2.0F, 1e-4F});
      segment.values = blocks(type_v, {1.0F, 1e4F, 0.0F, 1e-3F, 30.0F, 1e-2F, 1.0F});
      const std::vector<double> wanted = exact_outputs(segment, 2);
      for_each_table([&](const KernelTable& table) {
        const std::vector<float> out =
            merged(segment, partial_of(table, segment, Pages(segment, 0, setting.rows, {16}), 2));
        for (std::size_t g = 0; g < setting.group; ++g) {
          const std::size_t first = g * setting.head_dim;
          EXPECT_LE(worst(relative_l2(std::span(out).subspan(first, setting.head_dim),
                                      std::span(wanted).subspan(first, setting.head_dim))),
                    kBudget)
              << g;
        }
      });
    }
  }
}

// The logits that a caller may ask for are those of the softmax, and asking changes no bit of it.
TEST(DecodeAttention, ShowsItsLogits) {
  struct Asking {
    std::size_t group;
    KvType type;
  };
  constexpr Asking kAsking[] = {{1, KvType::kF16},  {3, KvType::kF16}, {7, KvType::kF16},
                                {8, KvType::kF16},  {9, KvType::kF16}, {25, KvType::kF16},
                                {33, KvType::kF16}, {7, KvType::kF32}, {7, KvType::kBf16},
                                {7, KvType::kQ8_0}, {7, KvType::kQ4_0}};
  for (const float softcap : {0.0F, 5.0F}) {
    for (const Asking& asking : kAsking) {
      const std::size_t group = asking.group;
      const Segment segment = make_segment({.group = group,
                                            .head_dim = 64,
                                            .rows = 83,
                                            .type_k = asking.type,
                                            .type_v = asking.type,
                                            .softcap = softcap,
                                            .deviation = 2.0F});
      const std::size_t skip = 5;
      const std::size_t rows = segment.rows() - skip;
      const Pages pages(segment, 0, segment.rows(), {16});
      for_each_table([&](const KernelTable& table) {
        const std::size_t stride = rows + 3;
        std::vector<float> logits(group * stride, -7.0F);
        std::vector<float> partial(segment.partial_size());
        DecodeAttentionArgs args = decode_args(segment, pages, skip, partial.data());
        args.logits = logits.data();
        args.logit_stride = stride;
        table.decode_attention(args);
        partial.resize(decode_partial_size(group, segment.head_dim));
        EXPECT_EQ(partial, partial_of(table, segment, pages, skip));
        for (std::size_t g = 0; g < group; ++g) {
          const auto wanted = exact_probabilities(segment.q.data() + g * segment.head_dim,
                                                  segment.keys, skip, segment.rows(), segment.rule);
          const std::span<const float> row(logits.data() + g * stride, stride);
          double sum = 0;
          for (std::size_t i = 0; i < rows; ++i) sum += std::exp(double(row[i]));
          for (std::size_t i = 0; i < rows; ++i) {
            EXPECT_NEAR(std::exp(double(row[i])) / sum, wanted[wanted.size() - rows + i], 1e-5);
          }
          for (std::size_t i = rows; i < stride; ++i) EXPECT_EQ(row[i], -7.0F);
        }
      });
    }
  }
}

}  // namespace
}  // namespace restkv::kernel_test
