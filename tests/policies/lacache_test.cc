// LaCache: the ladder against traces of the published code, and the scores that follow from it.

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/compress.h"
#include "policies/ladder_common.h"
#include "policies/layers.h"
#include "support/golden.h"
#include "support/ladder_trace.h"

namespace restkv {
namespace {

using Rows = std::vector<std::uint32_t>;

LadderShape shape_of(const LadderTrace& trace) {
  return {.layers = trace.layers,
          .size = trace.grown(),
          .span = trace.span,
          .overlap = trace.overlap,
          .start = trace.start,
          .recent = trace.layers};
}

std::vector<Rows> replay(const LadderTrace& trace) {
  std::vector<Rows> layers(trace.layers);
  Ladder ladder(shape_of(trace));
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

// Out of order and twice where the published code has it so.
TEST(Ladder, KeepsWhatThePublishedCodeKeeps) {
  if (!golden_cases()) GTEST_SKIP() << kNoGoldenData;
  const GoldenCase& golden = golden_case("lacache");
  const SafetensorsFile file = open_golden(golden);
  ASSERT_EQ(golden.methods.size(), 1U);
  EXPECT_GE(golden.methods[0].outputs.size(), 45U);
  for (const auto& [name, output] : golden.methods[0].outputs) {
    EXPECT_EQ(replay(parse_ladder_trace(name)), ladder_rows(file.tensor(name))) << name;
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
    const LadderTrace trace = parse_ladder_trace(name);
    if (trace.one_shot == 0 || trace.tokens != trace.one_shot) continue;
    SCOPED_TRACE(name);
    ++compared;
    TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = trace.tokens, .queries = 1});
    layer.seal();
    const LadderShape shape = shape_of(trace);
    const std::string policy = "lacache:span=" + std::to_string(shape.span) +
                               ":overlap=" + std::to_string(shape.overlap) +
                               ":start=" + std::to_string(shape.start);
    const std::vector<Rows> wanted = ladder_rows(file.tensor(name));
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

PolicyCut cut_of(const TestLayer& layer, int index, int count, std::size_t budget,
                 Position cursor) {
  const auto values = ParamValues::parse("lacache", find_policy("lacache")->params, {});
  const auto scorer = find_policy("lacache")->make(*values);
  LayerObservation shown = shown_layer(layer, index, count);
  shown.cursors = std::span(&cursor, 1);
  return scorer->cut(shown, {.budget = budget}, 0);
}

// As above: four groups of two, so the next begins at row 12. After that cut layer 0 holds 0-4, 6,
// 8, 10, 12-15; with one more token the group at 12 and all after it would reach into the four
// newest, so the ladder begins anew: 4 stays, 6 goes, and 8 is next. Then it is the turn of 8 and
// 10.
TEST(LaCache, GoesOnWhereTheLastCutEnded) {
  const auto kept = [](const std::vector<Position>& held, Position cursor, Position next) {
    TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 18, .queries = 1});
    layer.keep_positions(0, held);
    layer.seal();
    LayerObservation shown = shown_layer(layer, 0, 4);
    shown.cursors = std::span(&cursor, 1);
    const auto scores = scores_of({.policy = "lacache", .budget = 12}, shown)[0];
    EXPECT_EQ(cut_of(layer, 0, 4, 12, cursor).cursor, next);
    EXPECT_EQ(cut_of(layer, 0, 4, 12, cursor).spare, 0U);
    std::vector<Position> left;
    for (const std::size_t i : plain_top(std::vector<double>(scores.begin(), scores.end()), 12)) {
      left.push_back(held[i]);
    }
    std::ranges::sort(left);
    return left;
  };
  std::vector<Position> held(16);
  std::iota(held.begin(), held.end(), 0);
  held = kept(held, 0, 12);
  EXPECT_EQ(held, (std::vector<Position>{0, 1, 2, 3, 4, 6, 8, 10, 12, 13, 14, 15}));
  held.push_back(16);
  held = kept(held, 12, 8);
  EXPECT_EQ(held, (std::vector<Position>{0, 1, 2, 3, 4, 8, 10, 12, 13, 14, 15, 16}));
  held.push_back(17);
  held = kept(held, 8, 12);
  EXPECT_EQ(held, (std::vector<Position>{0, 1, 2, 3, 4, 8, 12, 13, 14, 15, 16, 17}));
}

// Three layers, span 1: of every three tokens each layer keeps one. One token too many costs two.
TEST(LaCache, LeavesTheRestOfAGroupEmpty) {
  TestLayer layer({.n_head = 1, .n_kv_head = 1, .rows = 13, .queries = 1});
  layer.seal();
  for (int index = 0; index < 3; ++index) {
    const PolicyCut cut = cut_of(layer, index, 3, 12, 0);
    EXPECT_EQ(cut.cursor, 7);
    EXPECT_EQ(cut.spare, 1U);
    EXPECT_EQ(cut_of(layer, index, 3, 11, 0).spare, 0U);
    // What fits is not cut.
    EXPECT_EQ(cut_of(layer, index, 3, 13, 5).cursor, 5);
    EXPECT_EQ(cut_of(layer, index, 3, 13, 5).spare, 0U);
  }
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
