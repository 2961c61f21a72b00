// The estimates against what the published code of XAttention and MInference computed. The masks
// of XAttention are compared with the paper's rule on the published sums; the published masks keep
// more in the first chunk of a prompt, and are compared beyond it.

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned.h"
#include "kernels/kernels.h"
#include "sparse/vertical_slash_common.h"
#include "sparse/xattention_common.h"
#include "support/golden.h"

namespace restkv {
namespace {

struct Head {
  std::vector<float> q;  // [n, head_dim]
  TypedRows keys;
  std::size_t head_dim = 0;
  AttentionRule rule;
};

// Query head h of a case, its first n tokens.
Head head_of(const GoldenCase& golden, const SafetensorsFile& file, std::size_t h, std::size_t n) {
  const std::size_t d = golden.dims.at("d");
  const std::size_t tokens = golden.dims.at("n");
  const std::vector<float> all = file.tensor("q_full").floats();
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(h * tokens * d);
  const std::size_t kv = h * golden.dims.at("Hkv") / golden.dims.at("Hq");
  const std::size_t head_bytes = kv_row_bytes(KvType::kF16, d) * tokens;
  return {.q = {first, first + static_cast<std::ptrdiff_t>(n * d)},
          .keys = {file.tensor("k").bytes.data() + kv * head_bytes, KvType::kF16},
          .head_dim = d,
          .rule = {
              .scale = 1.0F / std::sqrt(static_cast<float>(d)), .softcap = 0, .sliding_window = 0}};
}

// Entries beyond 1e30 are marks, not numbers.
void expect_near(const GoldenOutput& output, float reference, float value,
                 const std::string& where) {
  if (!(reference < 1e30F)) return;
  ASSERT_LE(std::abs(static_cast<double>(value) - reference),
            output.atol + output.rtol * std::abs(static_cast<double>(reference)))
      << where;
}

struct XCase {
  std::string name;  // of the golden case
  std::string stem;  // "xattn" or "xattn_n2000_c1024"
  std::size_t tokens;
  std::size_t first_chunk;  // tokens of the published run's first chunk
};
const std::vector<XCase>& x_cases() {
  static const std::vector<XCase> kCases = {{"real_l12_p768", "xattn", 768, 2048},
                                            {"prefill_n2048", "xattn", 2048, 2048},
                                            {"prefill_n2048", "xattn_n2000_c1024", 2000, 1024}};
  return kCases;
}

constexpr XAttentionSize kXSizes[] = {{.stride = 8, .block = 64},
                                      {.stride = 16, .block = 64},
                                      {.stride = 8, .block = 128},
                                      {.stride = 16, .block = 128}};
std::string name_of(const XCase& which, const XAttentionSize& size) {
  return which.stem + ".b" + std::to_string(size.block) + ".s" + std::to_string(size.stride);
}

class GoldenXAttention : public testing::TestWithParam<std::size_t> {};

TEST_P(GoldenXAttention, SumsAndMasks) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const XCase& which = x_cases()[GetParam()];
  const GoldenCase& golden = golden_case(which.name);
  const auto file = open_golden(golden);
  for (const XAttentionSize& size : kXSizes) {
    const std::string name = name_of(which, size);
    const GoldenMethod* const method = golden.method(name);
    ASSERT_NE(method, nullptr) << name;
    const std::vector<float> reference = file.tensor(name + ".sums").floats();
    const auto rule_mask = file.tensor("ours." + name + ".mask").bytes;
    const auto published_mask = file.tensor(name + ".mask").bytes;
    const std::size_t blocks = (which.tokens + size.block - 1) / size.block;
    for (std::size_t h = 0; h < golden.dims.at("Hq"); ++h) {
      const Head head = head_of(golden, file, h, which.tokens);
      std::vector<float> sums(blocks * blocks);
      const XAttentionInput input{.q = head.q.data(),
                                  .token_stride = head.head_dim,
                                  .first = 0,
                                  .count = which.tokens,
                                  .head_dim = head.head_dim,
                                  .keys = head.keys,
                                  .rule = head.rule};
      AlignedArray<float> scratch(xattention_scratch(input, size));
      xattention_sums(input, size, best_table(), scratch.span(), {sums.data(), blocks, blocks});
      for (std::size_t i = 0; i < sums.size(); ++i) {
        expect_near(method->outputs.at(name + ".sums"), reference[h * sums.size() + i], sums[i],
                    name + ", head " + std::to_string(h) + ", entry " + std::to_string(i));
      }
      std::vector<std::uint32_t> order(blocks);
      for (std::size_t q = 0; q < blocks; ++q) {
        std::vector<std::uint8_t> chosen(blocks, 0);
        choose_xattention_blocks({sums.data() + q * blocks, q + 1}, 0.9,
                                 std::span(order).first(q + 1), std::span(chosen).first(q + 1));
        for (std::size_t k = 0; k < blocks; ++k) {
          const std::size_t at = (h * blocks + q) * blocks + k;
          ASSERT_EQ(chosen[k], std::to_integer<std::uint8_t>(rule_mask[at]))
              << name << ", head " << h << ", block " << q << ", " << k;
          if (q * size.block >= which.first_chunk) {
            ASSERT_EQ(chosen[k], std::to_integer<std::uint8_t>(published_mask[at]))
                << name << ", head " << h << ", block " << q << ", " << k;
          }
        }
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Cases, GoldenXAttention, testing::Range(std::size_t{0}, x_cases().size()));

struct VCase {
  std::string name;
  std::vector<VerticalSlashCounts> counts;
};
const std::vector<VCase>& v_cases() {
  static const std::vector<VCase> kCases = {
      {"real_l12_p768", {{.columns = 100, .diagonals = 200}}},
      {"prefill_n2048",
       {{.columns = 64, .diagonals = 256},
        {.columns = 200, .diagonals = 400},
        {.columns = 1000, .diagonals = 6096}}},
  };
  return kCases;
}

std::string name_of(const VerticalSlashCounts& counts) {
  return "minference.v" + std::to_string(counts.columns) + ".s" + std::to_string(counts.diagonals);
}

class GoldenVerticalSlash : public testing::TestWithParam<std::size_t> {};

TEST_P(GoldenVerticalSlash, SumsAndChoices) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  constexpr std::size_t kQueries = 64;
  const VCase& which = v_cases()[GetParam()];
  const GoldenCase& golden = golden_case(which.name);
  const auto file = open_golden(golden);
  const std::size_t n = golden.dims.at("n");
  const std::vector<float> golden_vertical = file.tensor("minference.vertical").floats();
  const std::vector<float> golden_slash = file.tensor("minference.slash").floats();
  const GoldenMethod* const method = golden.method(name_of(which.counts.front()));
  ASSERT_NE(method, nullptr);
  const std::vector<std::uint32_t> begin(kQueries, 0);
  std::vector<std::uint32_t> end(kQueries);
  for (std::size_t i = 0; i < kQueries; ++i) {
    end[i] = static_cast<std::uint32_t>(n - kQueries + i + 1);
  }
  for (std::size_t h = 0; h < golden.dims.at("Hq"); ++h) {
    const Head head = head_of(golden, file, h, n);
    std::vector<float> attention(kQueries * n);
    best_table().window_attention({.q = head.q.data() + (n - kQueries) * head.head_dim,
                                   .n_query = kQueries,
                                   .head_dim = head.head_dim,
                                   .keys = head.keys,
                                   .rows = n,
                                   .row_begin = begin.data(),
                                   .row_end = end.data(),
                                   .rule = head.rule,
                                   .out = attention.data()});
    std::vector<float> vertical(n);
    std::vector<float> slash(n);
    sum_vertical_slash({attention.data(), kQueries, n}, vertical, slash);
    for (std::size_t i = 0; i < n; ++i) {
      const std::string where = "head " + std::to_string(h) + ", " + std::to_string(i);
      EXPECT_EQ(std::isinf(vertical[i]), std::isinf(golden_vertical[h * n + i])) << where;
      EXPECT_EQ(std::isinf(slash[i]), std::isinf(golden_slash[h * n + i])) << where;
      expect_near(method->outputs.at("minference.vertical"), golden_vertical[h * n + i],
                  vertical[i], where);
      expect_near(method->outputs.at("minference.slash"), golden_slash[h * n + i], slash[i], where);
    }
    for (const VerticalSlashCounts& counts : which.counts) {
      const VerticalSlash chosen = choose_vertical_slash(vertical, slash, counts);
      const auto expect_row = [&](const std::vector<std::uint32_t>& actual,
                                  const std::string& array) {
        const std::vector<std::int32_t> all = file.tensor(array).integers();
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(h * actual.size());
        ASSERT_EQ(all.size(), golden.dims.at("Hq") * actual.size()) << array;
        EXPECT_TRUE(std::equal(actual.begin(), actual.end(), first)) << array << ", head " << h;
      };
      expect_row(chosen.columns, name_of(counts) + ".columns");
      expect_row(chosen.diagonals, name_of(counts) + ".diagonals");
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Cases, GoldenVerticalSlash,
                         testing::Range(std::size_t{0}, v_cases().size()));

TEST(GoldenPatternCases, AreAllListed) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  std::set<std::string> listed;
  for (const XCase& which : x_cases()) {
    for (const XAttentionSize& size : kXSizes) {
      listed.insert(which.name + " " + name_of(which, size));
      listed.insert(which.name + " ours." + name_of(which, size));
    }
  }
  for (const VCase& which : v_cases()) {
    for (const VerticalSlashCounts& counts : which.counts) {
      listed.insert(which.name + " " + name_of(counts));
    }
  }
  constexpr std::string_view kBeginnings[] = {"xattn", "ours.xattn", "minference"};
  EXPECT_EQ(golden_methods(kBeginnings), listed);
}

}  // namespace
}  // namespace restkv
