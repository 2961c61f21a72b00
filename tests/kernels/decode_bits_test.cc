// What the bits of decode's attention depend on, and what they do not.

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "kernels/decode_segments.h"

namespace restkv::kernel_test {
namespace {

// Rows that all types without blocks hold: whichever holds them, the order of sums is the same.
TEST(DecodeAttention, TheSameRowsGiveTheSameBitsInF32F16AndBf16) {
  constexpr KvType kPlain[] = {KvType::kF32, KvType::kF16, KvType::kBf16};
  for (const std::size_t head_dim : {18U, 40U, 64U, 80U, 128U}) {
    for (const std::size_t group : {1U, 4U, 7U, 9U}) {
      Segment segment = make_segment({.group = group, .head_dim = head_dim, .rows = 75});
      Random random(group);
      const std::vector<float> keys = random.integers(75 * head_dim, 255);
      const std::vector<float> values = random.integers(75 * head_dim, 255);
      segment.rule.scale = 0.01F;
      for_each_table([&](const KernelTable& table) {
        std::vector<float> wanted;
        for (const KvType type_k : kPlain) {
          for (const KvType type_v : kPlain) {
            segment.keys = make_rows(type_k, head_dim, keys);
            segment.values = make_rows(type_v, head_dim, values);
            const std::vector<float> partial =
                partial_of(table, segment, Pages(segment, 0, 75, {16}), 1);
            if (wanted.empty()) wanted = partial;
            EXPECT_TRUE(same_bits(partial, wanted))
                << kv_type_name(type_k) << " and " << kv_type_name(type_v) << ", head_dim "
                << head_dim << ", group " << group;
          }
        }
      });
    }
  }
}

// The softmax of a type of keys does not depend on the type of values, and what the same weights
// make of the values does not depend on the type of keys.
TEST(DecodeAttention, KeysAndValuesDoNotFeelOneAnothersTypes) {
  for (const std::size_t group : {1U, 3U, 7U}) {
    const auto with = [&](KvType type_k, KvType type_v, float deviation) {
      return make_segment({.group = group,
                           .head_dim = 96,
                           .rows = 41,
                           .type_k = type_k,
                           .type_v = type_v,
                           .deviation = deviation});
    };
    for_each_pair(96, [&](KvType type_k, KvType type_v) {
      SCOPED_TRACE(std::string(kv_type_name(type_k)) + " and " + std::string(kv_type_name(type_v)));
      const Segment one = with(type_k, type_v, 1.0F);
      const Segment other_values = with(type_k, KvType::kF32, 1.0F);
      const Segment equal_weights = with(type_k, type_v, 0.0F);
      const Segment other_keys = with(KvType::kF32, type_v, 0.0F);
      for_each_table([&](const KernelTable& table) {
        const auto partial = [&](const Segment& segment) {
          return partial_of(table, segment, Pages(segment, 0, 41, {16}), 1);
        };
        const std::vector<float> mine = partial(one);
        const std::vector<float> other = partial(other_values);
        EXPECT_TRUE(same_bits(std::span(mine).first(2 * group), std::span(other).first(2 * group)));
        EXPECT_TRUE(same_bits(partial(equal_weights), partial(other_keys)));
      });
    });
  }
}

// The bits depend on the rows alone, not on how pages hold them; empty pages may stand anywhere.
TEST(DecodeAttention, DoesNotDependOnPages) {
  const auto try_one = [](const Setting& setting) {
    const Segment segment = make_segment(setting);
    const std::size_t rows = setting.rows;
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> wanted =
          partial_of(table, segment, Pages(segment, 0, rows, {rows}), 0);
      std::vector<std::vector<std::size_t>> layouts = {
          {0, 5, 0}, {3, 0, 0, 16, 1}, {16, 16, 16, 16, 16, 16, 16, 0}};
      for (std::size_t size = 1; size <= 16; ++size) layouts.push_back({size});
      for (const std::vector<std::size_t>& layout : layouts) {
        EXPECT_TRUE(
            same_bits(partial_of(table, segment, Pages(segment, 0, rows, layout), 0), wanted))
            << name_of(setting) << " in pages of " << layout.front();
      }
    });
  };
  for (const std::size_t rows : {1U, 16U, 33U, 100U}) {
    try_one({.group = 7, .head_dim = 36, .rows = rows});
    for_each_pair(64, [&](KvType type_k, KvType type_v) {
      try_one({.group = 7, .head_dim = 64, .rows = rows, .type_k = type_k, .type_v = type_v});
    });
  }
}

TEST(DecodeAttention, SkippedRowsLeaveNoTrace) {
  for_each_pair(32, [](KvType type_k, KvType type_v) {
    const Setting setting{
        .group = 4, .head_dim = 32, .rows = 60, .type_k = type_k, .type_v = type_v};
    const Segment segment = make_segment(setting);
    for_each_table([&](const KernelTable& table) {
      for (std::size_t skip = 0; skip <= 16; ++skip) {
        EXPECT_TRUE(same_bits(partial_of(table, segment, Pages(segment, 0, 60, {16}), skip),
                              partial_of(table, segment, Pages(segment, skip, 60, {16}), 0)))
            << name_of(setting) << ", " << skip;
      }
    });
  });
}

// A query head's partial is the same in any company.
TEST(DecodeAttention, DoesNotDependOnTheGroup) {
  const auto try_one = [](const Setting& setting) {
    const Segment together = make_segment(setting);
    const std::size_t dim = setting.head_dim;
    const std::size_t skip = 3;
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> all =
          partial_of(table, together, Pages(together, 0, setting.rows, {16}), skip);
      for (std::size_t g = 0; g < setting.group; ++g) {
        Segment alone = together;
        alone.group = 1;
        const auto q = together.q.begin() + static_cast<std::ptrdiff_t>(g * dim);
        alone.q.assign(q, q + static_cast<std::ptrdiff_t>(dim));
        const std::vector<float> one =
            partial_of(table, alone, Pages(alone, 0, setting.rows, {16}), skip);
        EXPECT_EQ(all[g], one[0]) << "largest logit of head " << g << ", " << name_of(setting);
        EXPECT_EQ(all[setting.group + g], one[1])
            << "sum of head " << g << ", " << name_of(setting);
        for (std::size_t i = 0; i < dim; ++i) {
          EXPECT_EQ(all[2 * setting.group + g * dim + i], one[2 + i])
              << "head " << g << ", " << i << ", " << name_of(setting);
        }
      }
    });
  };
  for (const std::size_t group : {2U, 3U, 6U, 7U, 8U, 9U, 13U, 25U, 33U}) {
    try_one({.group = group, .head_dim = 40, .rows = 75});
    for_each_pair(64, [&](KvType type_k, KvType type_v) {
      try_one({.group = group, .head_dim = 64, .rows = 75, .type_k = type_k, .type_v = type_v});
    });
  }
}

}  // namespace
}  // namespace restkv::kernel_test
