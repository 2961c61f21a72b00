// What boxes promise a query. Every table against the definition in double, from boxes that are
// packed here by plain loops. docs/kernels.md repeats the error budget.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/element_types.h"
#include "kernels/measure.h"

namespace restkv::kernel_test {
namespace {

// Units of sum |q| (|zero| + |scale code|), over the square root of the number of products.
constexpr double kBudget = 1.0;

constexpr SummaryType kTypes[] = {SummaryType::kF16, SummaryType::kInt8, SummaryType::kInt4};
constexpr HeadMerge kMerges[] = {HeadMerge::kMax, HeadMerge::kMean};
constexpr std::size_t kHeadSizes[] = {64, 80, 96, 128, 256};
constexpr std::size_t kGroups[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16};

// One column of a box in one run.
struct Column {
  double zero = 0;
  double scale = 1;
};

// Boxes of `blocks` blocks in whole runs, and what they stand for. What the last run has beyond
// them is there, too: nothing may depend on it.
class Boxes {
 public:
  Boxes(SummaryType type, std::size_t dim, std::size_t blocks, Random& random, bool integers)
      : type_(type), dim_(dim) {
    const std::size_t runs = (blocks + kRunBlocks - 1) / kRunBlocks;
    bytes_.resize(runs * run_bytes(type, dim));
    columns_.resize(runs * 2 * dim);
    parts_.resize(runs * kRunBlocks * 2 * dim);
    for (std::size_t run = 0; run < runs; ++run) {
      for (std::size_t i = 0; i < 2 * dim; ++i) fill_column(run, i, random, integers);
    }
  }

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] double value(std::size_t block, std::size_t i) const {
    return column(block, i).zero + part(block, i);
  }
  // What the roundings of a product with the value are measured by.
  [[nodiscard]] double size(std::size_t block, std::size_t i) const {
    return std::abs(column(block, i).zero) + std::abs(part(block, i));
  }

 private:
  [[nodiscard]] const Column& column(std::size_t block, std::size_t i) const {
    return columns_[block / kRunBlocks * 2 * dim_ + i];
  }
  // scale * code, or an f16 value itself.
  [[nodiscard]] double part(std::size_t block, std::size_t i) const {
    return parts_[block * 2 * dim_ + i];
  }
  double put_half(std::size_t at, float value) {
    const std::uint16_t half = element::f32_to_f16(value);
    std::memcpy(bytes_.data() + at, &half, sizeof half);
    return static_cast<double>(element::f16_to_f32(half));
  }
  void fill_column(std::size_t run, std::size_t i, Random& random, bool integers) {
    const std::size_t begin = run * run_bytes(type_, dim_);
    const std::size_t codes = begin + run_head_bytes(type_, dim_);
    const auto number = [&](float size) {
      return integers ? random.integers(1, static_cast<int>(size))[0] : size * random.normal();
    };
    Column& column = columns_[run * 2 * dim_ + i];
    if (type_ != SummaryType::kF16) {
      column.zero = put_half(begin + 2 * i, number(5));
      const float scale = integers ? static_cast<float>(random.below(3)) : random.uniform(0, 0.3F);
      column.scale = put_half(begin + 2 * (2 * dim_ + i), scale);
    }
    for (std::size_t slot = 0; slot < kRunBlocks; ++slot) {
      double& part = parts_[(run * kRunBlocks + slot) * 2 * dim_ + i];
      if (type_ == SummaryType::kF16) {
        part = put_half(codes + 2 * (i * kRunBlocks + slot), number(3));
        continue;
      }
      const bool small = type_ == SummaryType::kInt4;
      const auto code = static_cast<unsigned>(random.below(small ? 16 : 256));
      part = column.scale * code;
      const bool upper = small && i >= dim_;
      std::byte& byte = bytes_[codes + (upper ? i - dim_ : i) * kRunBlocks + slot];
      byte |= static_cast<std::byte>(upper ? code << 4 : code);
    }
  }

  SummaryType type_;
  std::size_t dim_;
  std::vector<std::byte> bytes_;
  std::vector<Column> columns_;  // [runs][2 * dim]
  std::vector<double> parts_;    // [blocks][2 * dim]
};

struct Setting {
  SummaryType type = SummaryType::kF16;
  HeadMerge merge = HeadMerge::kMax;
  std::size_t dim = 64;
  std::size_t group = 1;
  std::size_t blocks = 1;
};

std::string text_of(const Setting& setting) {
  return "type " + std::to_string(static_cast<int>(setting.type)) + ", merge " +
         std::to_string(static_cast<int>(setting.merge)) + ", head_dim " +
         std::to_string(setting.dim) + ", group " + std::to_string(setting.group) + ", blocks " +
         std::to_string(setting.blocks);
}

struct Expected {
  double score = 0;
  double size = 0;  // of the products
};

Expected expected(const Setting& setting, const Boxes& boxes, const std::vector<float>& q,
                  std::size_t block) {
  const double none = setting.merge == HeadMerge::kMax ? -1e300 : 0;
  Expected merged{.score = none, .size = 0};
  for (std::size_t g = 0; g < setting.group; ++g) {
    Expected one;
    for (std::size_t d = 0; d < setting.dim; ++d) {
      const double x = static_cast<double>(q[g * setting.dim + d]);
      const std::size_t i = x > 0 ? setting.dim + d : d;
      one.score += x * boxes.value(block, i);
      one.size += std::abs(x) * boxes.size(block, i);
    }
    if (setting.merge == HeadMerge::kMax) {
      merged.score = std::max(merged.score, one.score);
    } else {
      merged.score += one.score;
    }
    merged.size = std::max(merged.size, one.size);
  }
  if (setting.merge == HeadMerge::kMean) merged.score /= static_cast<double>(setting.group);
  return merged;
}

std::vector<float> scores_of(const KernelTable& table, const Setting& setting,
                             const std::vector<std::byte>& runs, const std::vector<float>& q) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  // On no boundary but that of an f16; and q and the runs end with their allocation.
  const Shifted<std::byte> shifted(runs, 2);
  Guarded<float> scores(std::vector<float>(setting.blocks, kNan), 1);
  Guarded<float> scratch(box_score_scratch(setting.group, setting.dim), 1);
  table.score_boxes({.q = q.data(),
                     .group = setting.group,
                     .head_dim = setting.dim,
                     .merge = setting.merge,
                     .type = setting.type,
                     .runs = shifted.data(),
                     .blocks = setting.blocks,
                     .scores = scores.data(),
                     .scratch = scratch.data()});
  EXPECT_TRUE(scores.intact());
  EXPECT_TRUE(scratch.intact());
  return scores.values();
}

// body(setting) for every type, merge, size of heads and size of group; the number of blocks
// changes from one to the next and takes parts of vectors, of panels and of runs.
template <class Body>
void for_each_setting(Body&& body) {
  constexpr std::size_t kBlocks[] = {1, 7, 63, 64, 65, 97, 128, 150};
  std::size_t turn = 0;
  for (const SummaryType type : kTypes) {
    for (const std::size_t dim : kHeadSizes) {
      for (const std::size_t group : kGroups) {
        for (const HeadMerge merge : kMerges) {
          const Setting setting{.type = type,
                                .merge = merge,
                                .dim = dim,
                                .group = group,
                                .blocks = kBlocks[turn++ * 5 / 3 % std::size(kBlocks)]};
          SCOPED_TRACE(text_of(setting));
          body(setting);
        }
      }
    }
  }
  for (const std::size_t dim : {1U, 6U, 20U, 33U, 512U}) {
    for (const SummaryType type : kTypes) {
      const Setting setting{.type = type, .dim = dim, .group = 7, .blocks = 70};
      SCOPED_TRACE(text_of(setting));
      body(setting);
    }
  }
}

TEST(ScoreBoxes, IsNearTheDefinition) {
  Worst worst("score_boxes, units over sqrt(n)");
  for_each_setting([&](const Setting& setting) {
    Random random(setting.dim * 100 + setting.group);
    const Boxes boxes(setting.type, setting.dim, setting.blocks, random, false);
    const std::vector<float> q = random.normals(setting.group * setting.dim);
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> scores = scores_of(table, setting, boxes.bytes(), q);
      for (std::size_t block = 0; block < setting.blocks; ++block) {
        const Expected wanted = expected(setting, boxes, q, block);
        const double unit = kUnit * wanted.size * std::sqrt(2.0 * static_cast<double>(setting.dim));
        const double error = std::abs(static_cast<double>(scores[block]) - wanted.score);
        ASSERT_LE(worst(error / unit), kBudget) << "block " << block;
      }
    });
  });
}

TEST(ScoreBoxes, IsExactOnSmallIntegers) {
  for_each_setting([&](const Setting& setting) {
    Random random(setting.dim * 100 + setting.group);
    const Boxes boxes(setting.type, setting.dim, setting.blocks, random, true);
    const std::vector<float> q = random.integers(setting.group * setting.dim, 4);
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> scores = scores_of(table, setting, boxes.bytes(), q);
      for (std::size_t block = 0; block < setting.blocks; ++block) {
        const double wanted = expected(setting, boxes, q, block).score;
        ASSERT_EQ(scores[block], static_cast<float>(wanted)) << "block " << block;
      }
    });
  });
}

// A block's score has the same bits alone and among others, and for each query head whatever heads
// stand beside it.
TEST(ScoreBoxes, DoNotDependOnCompany) {
  for_each_setting([&](const Setting& setting) {
    if (setting.merge != HeadMerge::kMax) return;
    Random random(setting.dim * 100 + setting.group);
    const Boxes boxes(setting.type, setting.dim, setting.blocks, random, false);
    const std::vector<float> q = random.normals(setting.group * setting.dim);
    for_each_table([&](const KernelTable& table) {
      const std::vector<float> all = scores_of(table, setting, boxes.bytes(), q);
      std::vector<float> best(setting.blocks, -std::numeric_limits<float>::infinity());
      for (std::size_t g = 0; g < setting.group; ++g) {
        const auto begin = q.begin() + static_cast<std::ptrdiff_t>(g * setting.dim);
        const std::vector<float> one(begin, begin + static_cast<std::ptrdiff_t>(setting.dim));
        Setting alone = setting;
        alone.group = 1;
        const std::vector<float> scores = scores_of(table, alone, boxes.bytes(), one);
        std::ranges::transform(best, scores, best.begin(),
                               [](float a, float b) { return std::max(a, b); });
      }
      ASSERT_TRUE(same_bits(all, best));
      Setting fewer = setting;
      fewer.blocks = (setting.blocks + 1) / 2;
      const std::size_t runs = (fewer.blocks + kRunBlocks - 1) / kRunBlocks;
      std::vector<std::byte> bytes = boxes.bytes();
      bytes.resize(runs * run_bytes(setting.type, setting.dim));
      const std::vector<float> some = scores_of(table, fewer, bytes, q);
      ASSERT_TRUE(same_bits(some, std::span(all).first(fewer.blocks)));
    });
  });
}

TEST(ScoreBoxes, OfNothingIsNothing) {
  for_each_table([](const KernelTable& table) {
    for (const SummaryType type : kTypes) {
      const Setting setting{.type = type, .dim = 64, .group = 2, .blocks = 0};
      EXPECT_TRUE(scores_of(table, setting, {}, std::vector<float>(128, 1.0F)).empty());
    }
  });
}

}  // namespace
}  // namespace restkv::kernel_test
