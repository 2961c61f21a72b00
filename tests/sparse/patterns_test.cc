// Each pattern against its definition by plain loops: which rows a query reads, token by token.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned.h"
#include "base/random.h"
#include "sparse/pattern.h"
#include "sparse/vertical_slash_common.h"
#include "sparse/xattention_common.h"

namespace restkv {
namespace {

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  std::vector<float> values(n);
  for (float& value : values) {
    value = static_cast<float>(next_random(seed) >> 40) * 0x1p-22F - 2.0F;
  }
  return values;
}

std::set<std::size_t> as_set(const std::vector<RowSpan>& rows) {
  std::set<std::size_t> set;
  for (const RowSpan& span : rows) {
    for (std::size_t row = span.begin; row < span.end; ++row) set.insert(row);
  }
  return set;
}

// Ascending, disjoint, not empty, within the block's reach.
void expect_proper(const std::vector<RowSpan>& rows, std::size_t block) {
  std::size_t end = 0;
  for (const RowSpan& span : rows) {
    EXPECT_LT(span.begin, span.end);
    EXPECT_GE(span.begin, end);
    end = span.end;
  }
  EXPECT_LE(end, (block + 1) * kPatternBlock);
}

// One layer of random queries and keys, two query heads to a KV head.
struct Layer {
  std::size_t tokens;
  std::size_t head_dim = 8;
  std::size_t n_head = 4;
  std::vector<float> q;                  // [tokens, n_head, head_dim]
  std::vector<std::vector<float>> keys;  // [n_kv_head][tokens, head_dim]
  std::vector<Position> positions;
  std::vector<HeadRows> heads;
  Threads threads{2};

  explicit Layer(std::size_t n) : tokens(n), q(random_floats(n * 4 * 8, n)), positions(n) {
    std::iota(positions.begin(), positions.end(), 0);
    for (std::uint64_t h = 0; h < 2; ++h) keys.push_back(random_floats(n * 8, n + 1 + h));
    for (const auto& head : keys) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(head.data());
      heads.push_back(
          {.keys = bytes, .values = bytes, .type = KvType::kF32, .positions = positions});
    }
  }

  [[nodiscard]] PatternInput input(std::size_t first, std::size_t count) const {
    return {.tokens = tokens,
            .n_head = n_head,
            .head_dim = head_dim,
            .q = q.data() + first * n_head * head_dim,
            .token_stride = n_head * head_dim,
            .first = first,
            .count = count,
            .heads = heads,
            .rule = {.scale = 0.5F, .softcap = 0, .sliding_window = 0},
            .kernels = &best_table(),
            .threads = &threads};
  }
  [[nodiscard]] const float* query(std::size_t token, std::size_t head) const {
    return q.data() + (token * n_head + head) * head_dim;
  }
  [[nodiscard]] const float* key(std::size_t token, std::size_t head) const {
    return keys[head / 2].data() + token * head_dim;
  }
};

double product(const float* a, const float* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

std::unique_ptr<PrefillPattern> make_pattern(const std::string& name,
                                             const std::vector<ParamValues::Assignment>& options) {
  const PatternInfo* const info = *pattern_by_name(name);
  return info->make(*ParamValues::parse(info->name, info->params, options));
}

TEST(Patterns, AreNamedAndDescribed) {
  std::set<std::string_view> names;
  for (const PatternInfo* info : all_patterns()) {
    EXPECT_TRUE(names.insert(info->name).second);
    EXPECT_FALSE(info->summary.empty());
    EXPECT_FALSE(info->paper.empty());
    EXPECT_EQ(info->make == nullptr, info->name == "dense");
    EXPECT_TRUE(ParamValues::parse(info->name, info->params, {}).ok()) << info->name;
  }
  EXPECT_EQ(names,
            (std::set<std::string_view>{"dense", "tri-shape", "vertical-slash", "xattention"}));
  const auto unknown = pattern_by_name("triangle");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("tri-shape"), std::string::npos);
}

TEST(TriShape, ReadsTheFirstTokensAndTheNeighbourhood) {
  constexpr std::pair<int, int> kSizes[] = {{10, 100}, {0, 1}, {128, 64}, {5, 65}, {200, 700}};
  for (const auto& [init, local] : kSizes) {
    const auto pattern = make_pattern(
        "tri-shape", {{"init", std::to_string(init)}, {"local", std::to_string(local)}});
    EXPECT_EQ(pattern->dense_up_to(), static_cast<std::size_t>(init + local));
    EXPECT_EQ(pattern->dense_tail(), 100U);
    const auto choice = pattern->choose(Layer(8).input(0, 0));
    EXPECT_FALSE(choice->per_head());
    for (std::size_t block = 0; block < 12; ++block) {
      std::vector<RowSpan> rows;
      choice->rows(0, block, rows);
      expect_proper(rows, block);
      const std::set<std::size_t> read = as_set(rows);
      // What some query of the block is to see, and nothing else up to the block's end.
      for (std::size_t row = 0; row < (block + 1) * 64; ++row) {
        bool wanted = row < static_cast<std::size_t>(init);
        for (std::size_t query = block * 64; query < (block + 1) * 64; ++query) {
          wanted |= row <= query && row + static_cast<std::size_t>(local) > query;
        }
        EXPECT_EQ(read.contains(row), wanted) << init << " " << local << " " << block << " " << row;
      }
    }
  }
}

TEST(VerticalSlash, SumsColumnsAndDiagonalsByHand) {
  // Two queries over 103 rows: query 101 gives to rows 35 and 101, query 102 to rows 35 and 0.
  std::vector<float> attention(2 * 103, 0.0F);
  attention[35] = 0.25F;
  attention[101] = 0.75F;
  attention[103 + 35] = 0.5F;
  attention[103 + 0] = 0.5F;
  std::vector<float> vertical(103);
  std::vector<float> slash(103);
  sum_vertical_slash({attention.data(), 2, 103}, vertical, slash);
  for (std::size_t i = 0; i < 103; ++i) {
    EXPECT_EQ(std::isinf(vertical[i]), i < 30);
    EXPECT_EQ(std::isinf(slash[i]), i < 100);
  }
  EXPECT_EQ(vertical[35], 0.75F);
  EXPECT_EQ(vertical[101], 0.75F);
  EXPECT_EQ(vertical[60], 0.0F);
  EXPECT_EQ(slash[102], 0.5F);
  EXPECT_EQ(slash[101], 0.0F);
}

TEST(VerticalSlash, RowsAreThoseThatColumnsAndDiagonalsTouch) {
  std::uint64_t state = 7;
  for (int turn = 0; turn < 50; ++turn) {
    const std::size_t n = 64 * (2 + next_random(state) % 8);
    VerticalSlash chosen;
    for (std::uint32_t i = 0; i < n; ++i) {
      if (next_random(state) % 9 == 0) chosen.columns.push_back(i);
      if (i == 0 || next_random(state) % 41 == 0) chosen.diagonals.push_back(i);
    }
    for (std::size_t block = 0; block < n / 64; ++block) {
      std::vector<RowSpan> rows;
      vertical_slash_rows(chosen, block, rows);
      expect_proper(rows, block);
      std::set<std::size_t> wanted;
      for (const std::uint32_t column : chosen.columns) {
        if (column < (block + 1) * 64) wanted.insert(column);
      }
      for (const std::uint32_t distance : chosen.diagonals) {
        for (std::size_t query = block * 64; query < (block + 1) * 64; ++query) {
          if (query >= distance) wanted.insert(query - distance);
        }
      }
      EXPECT_EQ(as_set(rows), wanted) << "turn " << turn << ", block " << block;
    }
  }
}

// The whole pattern, from queries and keys to lists, against softmax by its definition.
TEST(VerticalSlash, ChoosesByTheLastQueries) {
  const Layer layer(300);
  const auto pattern = make_pattern("vertical-slash", {{"vertical", "40"}, {"slash", "120"}});
  EXPECT_EQ(pattern->dense_up_to(), 160U);
  const auto choice = pattern->choose(layer.input(300 - 64, 64));
  EXPECT_TRUE(choice->per_head());
  for (std::size_t head = 0; head < layer.n_head; ++head) {
    std::vector<double> vertical(300, 0.0);
    std::vector<double> slash(300, 0.0);
    for (std::size_t query = 300 - 64; query < 300; ++query) {
      std::vector<double> weights;
      for (std::size_t j = 0; j <= query; ++j) {
        weights.push_back(std::exp(0.5 * product(layer.query(query, head), layer.key(j, head), 8)));
      }
      const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (std::size_t j = 0; j <= query; ++j) {
        vertical[j] += weights[j] / sum;
        slash[query - j] += weights[j] / sum;
      }
    }
    const auto largest = [](std::vector<double> values, std::size_t forced, std::size_t count) {
      std::fill_n(values.begin(), forced, 1e9);
      std::vector<std::uint32_t> order(values.size());
      std::iota(order.begin(), order.end(), 0U);
      std::ranges::stable_sort(order, [&](auto a, auto b) { return values[a] > values[b]; });
      order.resize(count);
      std::ranges::sort(order);
      return order;
    };
    const VerticalSlash wanted{.columns = largest(vertical, 30, 40),
                               .diagonals = largest(slash, 100, 120)};
    for (std::size_t block = 0; block < 3; ++block) {
      std::vector<RowSpan> rows;
      std::vector<RowSpan> wanted_rows;
      choice->rows(head, block, rows);
      vertical_slash_rows(wanted, block, wanted_rows);
      EXPECT_EQ(as_set(rows), as_set(wanted_rows)) << head << ", " << block;
    }
  }
}

// sums by the definition, over the whole prompt at once. [blocks, blocks]
std::vector<double> plain_xattention(const Layer& layer, std::size_t head, std::size_t stride,
                                     std::size_t block) {
  const std::size_t folds = (layer.tokens + stride - 1) / stride;
  const std::size_t blocks = (layer.tokens + block - 1) / block;
  std::vector<double> sums(blocks * blocks, 0.0);
  for (std::size_t i = 0; i < folds; ++i) {
    std::vector<double> weights;
    for (std::size_t j = 0; j <= i; ++j) {
      double logit = 0;
      for (std::size_t s = 0; s < stride; ++s) {
        const std::size_t query = i * stride + stride - 1 - s;
        const std::size_t key = j * stride + s;
        if (query >= layer.tokens || key >= layer.tokens) continue;
        logit += product(layer.query(query, head), layer.key(key, head), layer.head_dim);
      }
      weights.push_back(std::exp(logit * 0.5 / static_cast<double>(stride)));
    }
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t j = 0; j <= i; ++j) {
      sums[i * stride / block * blocks + j * stride / block] += weights[j] / sum;
    }
  }
  return sums;
}

TEST(XAttention, SumsAreThoseOfTheDefinitionInChunksOfAnySize) {
  for (const std::size_t tokens : {64, 250, 517}) {
    const Layer layer(tokens);
    constexpr std::pair<std::size_t, std::size_t> kSizes[] = {{4, 64}, {8, 64}, {16, 128}};
    for (const auto& [stride, block] : kSizes) {
      const std::size_t blocks = (tokens + block - 1) / block;
      for (const std::size_t chunk : {block, 2 * block, 1000 * block}) {
        for (std::size_t head = 0; head < layer.n_head; ++head) {
          const std::vector<double> wanted = plain_xattention(layer, head, stride, block);
          for (std::size_t first = 0; first < tokens; first += chunk) {
            const std::size_t count = std::min<std::size_t>(chunk, tokens - first);
            const XAttentionInput input{.q = layer.query(first, head),
                                        .token_stride = layer.n_head * layer.head_dim,
                                        .first = first,
                                        .count = count,
                                        .head_dim = layer.head_dim,
                                        .keys = {layer.heads[head / 2].keys, KvType::kF32},
                                        .rule = {.scale = 0.5F, .softcap = 0, .sliding_window = 0}};
            const XAttentionSize size{.stride = stride, .block = block};
            AlignedArray<float> scratch(xattention_scratch(input, size));
            const std::size_t rows = (count + block - 1) / block;
            const std::size_t columns = first / block + rows;
            std::vector<float> sums(rows * columns);
            xattention_sums(input, size, best_table(), scratch.span(),
                            {sums.data(), rows, columns});
            for (std::size_t q = 0; q < rows; ++q) {
              for (std::size_t k = 0; k < columns; ++k) {
                EXPECT_NEAR(sums[q * columns + k], wanted[(first / block + q) * blocks + k], 2e-5)
                    << tokens << " " << stride << " " << block << " " << chunk << " " << q << " "
                    << k;
              }
            }
          }
        }
      }
    }
  }
}

std::vector<std::uint8_t> chosen_blocks(const std::vector<float>& sums, double threshold) {
  std::vector<std::uint32_t> order(sums.size());
  std::vector<std::uint8_t> chosen(sums.size(), 9);
  choose_xattention_blocks(sums, threshold, order, chosen);
  return chosen;
}

TEST(XAttention, ChoosesByHand) {
  using Mask = std::vector<std::uint8_t>;
  EXPECT_EQ(chosen_blocks({8}, 0.9), (Mask{1}));
  EXPECT_EQ(chosen_blocks({0, 8}, 0.9), (Mask{1, 1}));
  // 1 + 1 of 8 are forced; 3 more reach 5 of 8, and only then 0.6 is held.
  EXPECT_EQ(chosen_blocks({1, 2, 3, 1, 1}, 0.6), (Mask{1, 0, 1, 0, 1}));
  EXPECT_EQ(chosen_blocks({1, 2, 3, 1, 1}, 0.625), (Mask{1, 0, 1, 0, 1}));
  EXPECT_EQ(chosen_blocks({1, 2, 3, 1, 1}, 0.63), (Mask{1, 1, 1, 0, 1}));
  EXPECT_EQ(chosen_blocks({1, 2, 3, 1, 1}, 0.0), (Mask{1, 0, 0, 0, 1}));
  EXPECT_EQ(chosen_blocks({1, 2, 3, 0, 1}, 1.0), (Mask{1, 1, 1, 1, 1}));
  // Equals: the lower block.
  EXPECT_EQ(chosen_blocks({0, 2, 2, 2, 2}, 0.5), (Mask{1, 1, 0, 0, 1}));
}

TEST(XAttention, ListsAreTheChosenBlocksWhateverTheChunks) {
  const Layer layer(600);
  constexpr std::pair<const char*, const char*> kChoices[] = {{"64", "0.5"}, {"128", "0.7"}};
  for (const auto& [block, threshold] : kChoices) {
    const auto pattern =
        make_pattern("xattention", {{"block", block}, {"threshold", threshold}, {"stride", "8"}});
    const std::size_t b = std::stoul(block);
    for (const std::size_t chunk : {128, 256, 100'000}) {
      std::size_t left_out = 0;
      for (std::size_t first = 0; first < layer.tokens; first += chunk) {
        const std::size_t count = std::min<std::size_t>(chunk, layer.tokens - first);
        const auto choice = pattern->choose(layer.input(first, count));
        for (std::size_t head = 0; head < layer.n_head; ++head) {
          const std::vector<double> sums = plain_xattention(layer, head, 8, b);
          const std::size_t blocks = (layer.tokens + b - 1) / b;
          for (std::size_t at = first; at < first + count; at += kPatternBlock) {
            std::vector<RowSpan> rows;
            choice->rows(head, at / kPatternBlock, rows);
            expect_proper(rows, at / kPatternBlock);
            const auto row = sums.begin() + static_cast<std::ptrdiff_t>(at / b * blocks);
            const std::vector<float> own(row, row + static_cast<std::ptrdiff_t>(at / b + 1));
            const std::vector<std::uint8_t> mask = chosen_blocks(own, std::stod(threshold));
            const std::set<std::size_t> read = as_set(rows);
            for (std::size_t r = 0; r < at + kPatternBlock; ++r) {
              EXPECT_EQ(read.contains(r), mask[r / b] != 0) << chunk << " " << at << " " << r;
              left_out += mask[r / b] == 0 ? 1 : 0;
            }
          }
        }
      }
      EXPECT_GT(left_out, 0U);
    }
  }
}

}  // namespace
}  // namespace restkv
