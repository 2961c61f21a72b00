// Attention of one token's query heads over pages: every table against attention by its definition
// in double. docs/kernels.md repeats the error budgets.

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention_oracle.h"
#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

// Relative L2, as for prefill; merging partials costs nothing that can be seen.
constexpr double kBudget = 1.5e-6;
constexpr double kCappedBudget = 2e-6;

// Heads of queries over `rows` rows. Pages copy their rows, so that every page has an address and
// an end of its own.
struct Segment {
  std::size_t group;
  std::size_t head_dim;
  std::vector<float> q;
  Rows keys;
  Rows values;
  AttentionRule rule;
  std::vector<std::uint8_t> masks = {};  // [rows][row_mask_bytes(group)] or empty

  [[nodiscard]] std::size_t rows() const { return keys.expanded.size() / head_dim; }
  [[nodiscard]] std::size_t partial_size() const { return group * (2 + head_dim); }
};

struct Setting {
  std::size_t group;
  std::size_t head_dim;
  std::size_t rows;
  KvType type_k = KvType::kF16;
  KvType type_v = KvType::kF16;
  float softcap = 0.0F;
  float deviation = 1.0F;
};

bool goes_with(KvType type, std::size_t head_dim) {
  return !kv_type_is_quantised(type) || head_dim % kQuantBlock == 0;
}

// body(type_k, type_v) for every pair that goes with the width.
template <class Body>
void for_each_pair(std::size_t head_dim, Body&& body) {
  for (const KvType type_k : kAllKvTypes) {
    for (const KvType type_v : kAllKvTypes) {
      if (goes_with(type_k, head_dim) && goes_with(type_v, head_dim)) body(type_k, type_v);
    }
  }
}

std::string name_of(const Setting& setting) {
  return "group " + std::to_string(setting.group) + ", head_dim " +
         std::to_string(setting.head_dim) + ", rows " + std::to_string(setting.rows) + ", " +
         std::string(kv_type_name(setting.type_k)) + " and " +
         std::string(kv_type_name(setting.type_v));
}

Segment make_segment(const Setting& setting) {
  Random random(setting.rows * 1000 + setting.head_dim);
  const std::size_t n = setting.rows * setting.head_dim;
  return {.group = setting.group,
          .head_dim = setting.head_dim,
          .q = random.normals(setting.group * setting.head_dim, setting.deviation),
          .keys = make_rows(setting.type_k, setting.head_dim, random.normals(n)),
          .values = make_rows(setting.type_v, setting.head_dim, random.normals(n)),
          .rule = {.scale = 1.0F / std::sqrt(static_cast<float>(setting.head_dim)),
                   .softcap = setting.softcap,
                   .sliding_window = 0}};
}

std::vector<double> exact_outputs(const Segment& segment, std::size_t skip) {
  std::vector<double> out(segment.group * segment.head_dim);
  for (std::size_t g = 0; g < segment.group; ++g) {
    exact_mean(exact_probabilities(segment.q.data() + g * segment.head_dim, segment.keys, skip,
                                   segment.rows(), segment.rule),
               segment.values, skip, out.data() + g * segment.head_dim);
  }
  return out;
}

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

// Rows [first, last) of a segment, cut into pages.
class Pages {
 public:
  Pages(const Segment& segment, std::size_t first, std::size_t last,
        const std::vector<std::size_t>& sizes) {
    const std::size_t key_bytes = kv_row_bytes(segment.keys.type, segment.head_dim);
    const std::size_t value_bytes = kv_row_bytes(segment.values.type, segment.head_dim);
    const auto copy = [](const Rows& rows, std::size_t row, std::size_t n, std::size_t bytes) {
      const auto from = rows.bytes.begin() + static_cast<std::ptrdiff_t>(row * bytes);
      return std::vector<std::byte>(from, from + static_cast<std::ptrdiff_t>(n * bytes));
    };
    std::size_t page = 0;
    while (first < last || page < sizes.size()) {
      const std::size_t rows = std::min(sizes[page++ % sizes.size()], last - first);
      bytes_.push_back(copy(segment.keys, first, rows, key_bytes));
      bytes_.push_back(copy(segment.values, first, rows, value_bytes));
      views_.push_back(
          {.keys = bytes_[bytes_.size() - 2].data(),
           .values = bytes_.back().data(),
           .rows = static_cast<std::uint32_t>(rows),
           .masks = segment.masks.empty()
                        ? nullptr
                        : segment.masks.data() + first * row_mask_bytes(segment.group)});
      first += rows;
    }
  }
  [[nodiscard]] std::span<const PageView> views() const { return views_; }

 private:
  std::vector<std::vector<std::byte>> bytes_;
  std::vector<PageView> views_;
};

std::vector<float> partial_of(const KernelTable& table, const Segment& segment, const Pages& pages,
                              std::size_t skip) {
  Guarded<float> partial(segment.partial_size(), 1);
  table.decode_attention({.q = segment.q.data(),
                          .group = segment.group,
                          .head_dim = segment.head_dim,
                          .pages = pages.views(),
                          .skip_rows = skip,
                          .type_k = segment.keys.type,
                          .type_v = segment.values.type,
                          .rule = segment.rule,
                          .partial = partial.data()});
  EXPECT_TRUE(partial.intact());
  std::vector<float> padded = partial.values();
  padded.resize(decode_partial_size(segment.group, segment.head_dim));
  return padded;
}

std::vector<float> merged(const Segment& segment, const std::vector<float>& partials) {
  Guarded<float> out(segment.group * segment.head_dim, 1);
  const std::size_t size = decode_partial_size(segment.group, segment.head_dim);
  const std::size_t parts = size > 0 ? partials.size() / size : 0;  // 0: for the static analyzer
  merge_decode(partials.data(), parts, segment.group, segment.head_dim, out.data());
  EXPECT_TRUE(out.intact());
  return out.values();
}

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
        table.decode_attention({.q = segment.q.data(),
                                .group = group,
                                .head_dim = segment.head_dim,
                                .pages = pages.views(),
                                .skip_rows = skip,
                                .type_k = segment.keys.type,
                                .type_v = segment.values.type,
                                .rule = segment.rule,
                                .partial = partial.data(),
                                .logits = logits.data(),
                                .logit_stride = stride});
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
