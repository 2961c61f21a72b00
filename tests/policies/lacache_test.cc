// LaCache: the ladder against traces of the published code, and the scores that follow from it.

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/compress.h"
#include "policies/ladder_common.h"
#include "policies/layers.h"
#include "support/golden.h"

namespace restkv {
namespace {

using Rows = std::vector<std::uint32_t>;

// What the name of a trace says: "lacache.ppl.L24.M128.S8.O4.st4.bytoken.n200".
struct Trace {
  LadderShape shape;
  std::size_t one_shot = 0;  // tokens of the first call; 0: one
  std::size_t tokens = 0;
};
Trace parse_trace(const std::string& name) {
  Trace trace;
  LadderShape& shape = trace.shape;
  const std::size_t numbers = name.find(".L");
  EXPECT_EQ(std::sscanf(name.c_str() + numbers, ".L%zu.M%zu.S%zu.O%zu.st%zu", &shape.layers,
                        &shape.size, &shape.span, &shape.overlap, &shape.start),
            5);
  shape.recent = shape.layers;
  // At the first overflow the published cache grows so that its mean length is the size.
  shape.size += shape.gain() / 2;
  const std::size_t one_shot = name.find(".oneshot");
  if (one_shot != std::string::npos) {
    EXPECT_EQ(std::sscanf(name.c_str() + one_shot, ".oneshot%zu", &trace.one_shot), 1);
  }
  EXPECT_EQ(std::sscanf(name.c_str() + name.rfind(".n"), ".n%zu", &trace.tokens), 1);
  return trace;
}

std::vector<Rows> replay(const Trace& trace) {
  std::vector<Rows> layers(trace.shape.layers);
  Ladder ladder(trace.shape);
  std::size_t seen = 0;
  while (seen < trace.tokens) {
    const std::size_t count = seen == 0 && trace.one_shot > 0 ? trace.one_shot : 1;
    for (Rows& rows : layers) {
      for (std::size_t i = 0; i < count; ++i) {
        rows.push_back(static_cast<std::uint32_t>(seen + i));
      }
    }
    seen += count;
    for (const LadderPass& pass : ladder.cut(layers[0].size())) {
      for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        layers[layer] = thinned(pass, layer, layers[layer]);
      }
    }
  }
  return layers;
}

std::vector<Rows> wanted_rows(const GoldenTensor& tensor) {
  const std::vector<std::int32_t> all = tensor.integers();
  std::vector<Rows> layers;
  for (std::size_t layer = 0; layer < tensor.shape[0]; ++layer) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(layer * tensor.shape[1]);
    layers.emplace_back(first, first + static_cast<std::ptrdiff_t>(tensor.shape[1]));
  }
  return layers;
}

// Out of order and twice where the published code has it so.
TEST(Ladder, KeepsWhatThePublishedCodeKeeps) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case("lacache");
  const SafetensorsFile file = open_golden(golden);
  ASSERT_EQ(golden.methods.size(), 1U);
  EXPECT_GE(golden.methods[0].outputs.size(), 45U);
  for (const auto& [name, output] : golden.methods[0].outputs) {
    EXPECT_EQ(replay(parse_trace(name)), wanted_rows(file.tensor(name))) << name;
  }
}

LayerObservation shown_layer(const TestLayer& layer, int index, int count) {
  LayerObservation shown = layer.observation();
  shown.layer = index;
  shown.n_layer = count;
  return shown;
}

// The first cut of each one-shot trace, through the scores: the published rows come before all
// others.
TEST(LaCache, ScoresPutTheLadderFirst) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case("lacache");
  const SafetensorsFile file = open_golden(golden);
  std::size_t compared = 0;
  for (const auto& [name, output] : golden.methods[0].outputs) {
    const Trace trace = parse_trace(name);
    if (trace.one_shot == 0 || trace.tokens != trace.one_shot) continue;
    SCOPED_TRACE(name);
    ++compared;
    TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = trace.tokens, .queries = 1});
    layer.seal();
    const LadderShape& shape = trace.shape;
    const std::string policy = "lacache:span=" + std::to_string(shape.span) +
                               ":overlap=" + std::to_string(shape.overlap) +
                               ":start=" + std::to_string(shape.start);
    const std::vector<Rows> wanted = wanted_rows(file.tensor(name));
    for (std::size_t i = 0; i < shape.layers; ++i) {
      const auto scores =
          scores_of({.policy = policy, .budget = shape.size},
                    shown_layer(layer, static_cast<int>(i), static_cast<int>(shape.layers)))[0];
      const std::vector<double> values(scores.begin(), scores.end());
      const std::set<std::size_t> kept(wanted[i].begin(), wanted[i].end());
      const auto top = plain_top(values, kept.size());
      EXPECT_EQ(std::set<std::size_t>(top.begin(), top.end()), kept) << "layer " << i;
    }
  }
  EXPECT_EQ(compared, 7U);
}

// Four layers, span 2, overlap 0: of every two tokens each layer keeps one, even layers the first.
// A budget of 12 for 16 tokens, 4 of them first ones and 4 untouched newest: four groups lose one
// token each.
TEST(LaCache, WorkedByHand) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 16, .queries = 1});
  layer.seal();
  const auto kept = [&](int index) {
    const auto scores =
        scores_of({.policy = "lacache", .budget = 12}, shown_layer(layer, index, 4))[0];
    auto top = plain_top(std::vector<double>(scores.begin(), scores.end()), 12);
    std::ranges::sort(top);
    return top;
  };
  EXPECT_EQ(kept(0), (std::vector<std::size_t>{0, 1, 2, 3, 4, 6, 8, 10, 12, 13, 14, 15}));
  EXPECT_EQ(kept(1), (std::vector<std::size_t>{0, 1, 2, 3, 5, 7, 9, 11, 12, 13, 14, 15}));
  EXPECT_EQ(kept(2), kept(0));
}

// Whatever the numbers: in order within the list, never above the size.
TEST(Ladder, NeverLeavesMoreThanTheSize) {
  std::size_t cuts = 0;
  for (const std::size_t layers : {4U, 18U, 24U}) {
    for (const std::size_t span : {1U, 3U, 9U, 16U}) {
      for (const std::size_t overlap : {0U, 2U, 7U}) {
        for (const std::size_t size : {30U, 60U, 333U}) {
          const LadderShape shape{.layers = layers,
                                  .size = size,
                                  .span = span,
                                  .overlap = overlap,
                                  .start = 4,
                                  .recent = layers};
          if (span >= layers || !shape.usable()) continue;
          for (const std::size_t length : {size, size + 1, size + 40, 5 * size, 100 * size}) {
            Rows rows(length);
            std::iota(rows.begin(), rows.end(), 0U);
            Ladder ladder(shape);
            for (int again = 0; again < 3; ++again) {
              for (const LadderPass& pass : ladder.cut(rows.size())) {
                rows = thinned(pass, 3, rows);
                ++cuts;
              }
              EXPECT_LE(rows.size(), size);
              EXPECT_TRUE(std::ranges::equal(std::span(rows).first(4), Rows{0, 1, 2, 3}));
              for (std::uint32_t i = 0; i < 10; ++i) rows.push_back(rows.back() + 1);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(cuts, 300U);
}

TEST(LaCache, RefusesWhatMakesNoLadder) {
  const auto check = [](const std::string& text, int layers) {
    KvOptions options;
    const auto named = parse_named_params(text);
    options.policy = named->name;
    options.policy_options = named->assignments;
    const auto variant = Variant::make(options);
    return variant.ok() ? (*variant)->check_model(std::vector<int>(std::size_t(layers))).ok()
                        : false;
  };
  EXPECT_TRUE(check("lacache", 2));
  EXPECT_TRUE(check("lacache", 24));
  EXPECT_FALSE(check("lacache", 1));
  EXPECT_TRUE(check("lacache:span=16", 17));
  EXPECT_FALSE(check("lacache:span=16", 16));
  EXPECT_FALSE(check("lacache:span=4:overlap=4", 24));
  EXPECT_FALSE(check("lacache:overlap=4", 8));
  EXPECT_TRUE(check("snapkv", 1));
}

}  // namespace
}  // namespace restkv
