// Attention of one token's query heads where each sees rows of its own.

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "kernels/decode_segments.h"

namespace restkv::kernel_test {
namespace {

// Of the rows that query head g sees, and zeros where it sees none.
std::vector<double> exact_masked_output(const Segment& segment, std::size_t g, std::size_t skip) {
  const std::size_t dim = segment.head_dim;
  const std::size_t mask_bytes = (segment.group + 7) / 8;
  Rows keys{.type = KvType::kF32, .head_dim = dim, .bytes = {}, .expanded = {}};
  Rows values = keys;
  for (std::size_t row = skip; row < segment.rows(); ++row) {
    const int byte = segment.masks[row * mask_bytes + g / 8];
    if (byte / (1 << g % 8) % 2 == 0) continue;
    const auto copy = [&](const Rows& from, Rows& to) {
      const auto begin = from.expanded.begin() + static_cast<std::ptrdiff_t>(row * dim);
      to.expanded.insert(to.expanded.end(), begin, begin + static_cast<std::ptrdiff_t>(dim));
    };
    copy(segment.keys, keys);
    copy(segment.values, values);
  }
  std::vector<double> out(dim, 0.0);
  const std::size_t seen = keys.expanded.size() / dim;
  if (seen == 0) return out;
  exact_mean(exact_probabilities(segment.q.data() + g * dim, keys, 0, seen, segment.rule), values,
             0, out.data());
  return out;
}

// Every head sees rows of its own, each row with the chance of `setting.shown`; head 0 none of the
// first 40, the last head no row at all.
Segment make_masked(const Setting& setting, float shown) {
  Segment segment = make_segment(setting);
  Random random(setting.rows + setting.group);
  const std::size_t mask_bytes = (setting.group + 7) / 8;
  segment.masks.assign(setting.rows * mask_bytes, 0);
  for (std::size_t row = 0; row < setting.rows; ++row) {
    for (std::size_t g = 0; g < setting.group; ++g) {
      const bool never = (g == 0 && row < 40) || (setting.group > 1 && g + 1 == setting.group);
      if (never || random.uniform(0, 1) >= shown) continue;
      segment.masks[row * mask_bytes + g / 8] |= static_cast<std::uint8_t>(1U << g % 8);
    }
  }
  return segment;
}

TEST(DecodeAttention, HeadsSeeRowsOfTheirOwn) {
  Worst worst("decode_attention, rows of each head's own, relative L2");
  const auto try_one = [&](const Setting& setting, float shown) {
    SCOPED_TRACE(name_of(setting));
    const Segment segment = make_masked(setting, shown);
    const std::size_t skip = setting.rows % 4;
    for_each_table([&](const KernelTable& table) {
      for (const std::size_t cut : {0U, 32U}) {  // one segment, or two that are merged
        std::vector<float> partials;
        if (cut > 0) partials = partial_of(table, segment, Pages(segment, 0, cut, {16}), skip);
        const std::vector<float> rest =
            partial_of(table, segment, Pages(segment, cut, setting.rows, {16}), cut > 0 ? 0 : skip);
        partials.insert(partials.end(), rest.begin(), rest.end());
        const std::vector<float> out = merged(segment, partials);
        for (std::size_t g = 0; g < setting.group; ++g) {
          const std::vector<double> wanted = exact_masked_output(segment, g, skip);
          const auto begin = out.begin() + static_cast<std::ptrdiff_t>(g * setting.head_dim);
          const std::vector<float> mine(begin,
                                        begin + static_cast<std::ptrdiff_t>(setting.head_dim));
          if (std::ranges::all_of(wanted, [](double value) { return value == 0; })) {
            EXPECT_EQ(mine, std::vector<float>(setting.head_dim, 0.0F)) << g;
          } else {
            EXPECT_LE(worst(relative_l2(mine, wanted)), kBudget) << g;
          }
        }
      }
    });
  };
  for (const float shown : {0.02F, 0.5F, 1.0F}) {
    for_each_pair(64, [&](KvType type_k, KvType type_v) {
      try_one({.group = 7, .head_dim = 64, .rows = 99, .type_k = type_k, .type_v = type_v}, shown);
    });
    for (const std::size_t group : {1U, 2U, 8U, 9U, 16U, 17U, 25U, 33U}) {
      try_one({.group = group, .head_dim = 40, .rows = 110}, shown);
      try_one({.group = group, .head_dim = 64, .rows = 110}, shown);
    }
    try_one({.group = 3, .head_dim = 18, .rows = 77, .softcap = 20.0F}, shown);
  }
}

// Masks that hide nothing change no bit, and neither do rows that are hidden from a head, whatever
// they hold.
TEST(DecodeAttention, HiddenRowsLeaveNoTrace) {
  Segment plain = make_segment({.group = 5, .head_dim = 64, .rows = 70});
  Segment masked = plain;
  masked.masks.assign(70, 0x1f);
  Segment other = make_masked({.group = 5, .head_dim = 64, .rows = 70}, 0.5F);
  Segment wild = other;
  for (std::size_t row = 0; row < 70; ++row) {
    if (other.masks[row] != 0) continue;
    for (Rows* rows : {&wild.keys, &wild.values}) {
      std::fill_n(rows->bytes.begin() + static_cast<std::ptrdiff_t>(row * 128), 128,
                  std::byte{0x7b});  // about 60000 in each element
    }
  }
  EXPECT_NE(wild.keys.bytes, other.keys.bytes);
  for_each_table([&](const KernelTable& table) {
    EXPECT_TRUE(same_bits(partial_of(table, masked, Pages(masked, 0, 70, {16}), 3),
                          partial_of(table, plain, Pages(plain, 0, 70, {16}), 3)));
    EXPECT_TRUE(same_bits(partial_of(table, wild, Pages(wild, 0, 70, {16}), 3),
                          partial_of(table, other, Pages(other, 0, 70, {16}), 3)));
  });
}

}  // namespace
}  // namespace restkv::kernel_test
