// What must hold between any two steps of any schedule, over thousands of small caches: made-up
// rows, queries and logits in place of a model's, the engine's own schedule, policies and cache.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/bare_engine.h"
#include "engine/step_schedule.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr int kShards = 20;
constexpr std::size_t kCasesOfShard = 500;
constexpr std::size_t kMostSteps = 12;

struct Draws {
  std::uint64_t state = 0;

  // From `least` to `most`.
  std::size_t number(std::size_t least, std::size_t most) {
    return least + next_random(state) % (most - least + 1);
  }
  template <typename T>
  const T& one_of(const std::vector<T>& list) {
    return list[number(0, list.size() - 1)];
  }
  float real() { return static_cast<float>(next_random(state) >> 40U) * 0x1p-22F - 2.0F; }
  std::vector<float> reals(std::size_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = real();
    return values;
  }
};

// A variant that check_kv_options() accepts.
KvOptions random_options(Draws& draws) {
  KvOptions options;
  const std::vector<KvType> types = {KvType::kF16, KvType::kF32, KvType::kQ8_0, KvType::kQ4_0};
  do {
    options = {};
    options.policy = all_policies()[draws.number(0, all_policies().size() - 1)]->name;
    options.allocator = all_allocators()[draws.number(0, all_allocators().size() - 1)]->name;
    options.window = static_cast<int>(draws.number(1, 8));
    options.sinks = static_cast<int>(draws.number(0, 4));
    options.protect = draws.number(0, 2) == 0 ? Protect::kPaper : Protect::kDefault;
    options.budget.amount = static_cast<double>(draws.number(1, 40));
    if (draws.number(0, 2) == 0) options.budget.unit = Budget::Unit::kPercent;
    options.type_k = draws.one_of(types);
    options.type_v = draws.one_of(types);
    options.seed = draws.number(0, 99);
    const std::string every = "every:" + std::to_string(draws.number(1, kMostSteps));
    options.schedule =
        Schedule::parse(draws.one_of(std::vector<std::string>{"once", "cap", "cap", every, every}))
            .value();
  } while (!check_kv_options(options).ok());
  return options;
}

// What a step of one sequence is fed with, the same for the same seed whatever stands beside it.
struct Feed {
  std::uint64_t seed = 0;
  Draws at(std::size_t layer, std::size_t what) const { return {random_at(seed, layer, what, 0)}; }
};

// A sequence that holds `n` tokens in full, whatever its budget: the first step that its schedule
// acts after has much to do.
Sequence::State filled(BareEngine& engine, const std::shared_ptr<const Variant>& variant,
                       std::size_t n) {
  Sequence::State made{
      .variant = variant,
      .cache = KvCache(engine.state().cache_shape(*variant), engine.state().counter),
      .report = {},
      .queries = engine.state().query_ring(*variant)};
  const ModelConfig& config = engine.config();
  const auto dim = static_cast<std::size_t>(config.head_dim);
  Draws draws{.state = n};
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_TRUE(made.cache.reserve_row(made.next_position).ok());
    for (int layer = 0; layer < config.n_layer; ++layer) {
      for (int h = 0; h < config.n_kv_head; ++h) {
        const std::vector<float> row = draws.reals(2 * dim);
        made.cache.append(*engine.state().kernels, layer, h, made.next_position, row.data(),
                          row.data() + dim);
      }
    }
    ++made.next_position;
  }
  return made;
}

// Steps go on, or fail when all is chosen and nothing done, and are taken back.
enum class Ending : std::uint8_t { kDone, kFails };

// One step of decode as DecodeStep makes it, without the model.
void step(BareEngine& engine, const std::vector<Sequence::State*>& sequences,
          const std::vector<Feed>& feeds, Ending ending = Ending::kDone) {
  const ModelConfig& config = engine.config();
  const auto heads = static_cast<std::size_t>(config.n_kv_head);
  const auto dim = static_cast<std::size_t>(config.head_dim);
  const auto group = static_cast<std::size_t>(config.group());
  for (Sequence::State* sequence : sequences) {
    ASSERT_TRUE(sequence->cache.reserve_row(sequence->next_position).ok());
  }
  StepSchedule schedule(engine.state(), sequences);
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const auto l = static_cast<std::size_t>(layer);
    std::vector<float> queries;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      Draws rows = feeds[s].at(l, 0);
      for (std::size_t h = 0; h < heads; ++h) {
        const std::vector<float> key = rows.reals(dim);
        const std::vector<float> value = rows.reals(dim);
        sequences[s]->cache.append(*engine.state().kernels, layer, static_cast<int>(h),
                                   sequences[s]->next_position, key.data(), value.data());
      }
      const std::vector<float> query = feeds[s].at(l, 1).reals(config.q_size());
      queries.insert(queries.end(), query.begin(), query.end());
    }
    schedule.begin_layer(layer);
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      for (std::size_t h = 0; h < heads; ++h) {
        const StepSchedule::Logits logits = schedule.logits(s, h);
        if (logits.data == nullptr) continue;
        ASSERT_EQ(logits.stride, sequences[s]->cache.rows(layer, static_cast<int>(h)));
        const std::vector<float> drawn = feeds[s].at(l, 2 + h).reals(group * logits.stride);
        std::ranges::copy(drawn, logits.data);
      }
    }
    schedule.end_layer(layer, {queries.data(), sequences.size(), config.q_size()});
  }
  const auto chosen = schedule.choose();
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  if (ending == Ending::kDone) {
    schedule.apply();
    return;
  }
  for (Sequence::State* sequence : sequences) sequence->cache.drop_from(sequence->next_position);
}

// Everything of a sequence that a later step may look at.
struct Seen {
  std::vector<std::vector<Position>> positions;
  std::vector<std::vector<float>> sums;
  std::vector<std::vector<std::byte>> rows;
  PolicyCursors cursors;
  bool operator==(const Seen&) const = default;
};

Seen seen_of(const Sequence::State& sequence) {
  const CacheShape& shape = sequence.cache.shape();
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  Seen seen;
  seen.cursors = sequence.cursors;
  KvCache::HeadPages pages;
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    for (int h = 0; h < shape.n_kv_head; ++h) {
      seen.positions.push_back(sequence.cache.positions(layer, h));
      seen.sums.push_back(sequence.cache.column_sums(layer, h));
      sequence.cache.pages(layer, h, pages);
      std::size_t skip = pages.skip_rows;
      std::vector<std::byte>& rows = seen.rows.emplace_back();
      for (const PageView& page : pages.pages) {
        const auto add = [&](const std::byte* first, std::size_t row) {
          rows.insert(rows.end(), first + skip * row, first + page.rows * row);
        };
        add(page.keys, kv_row_bytes(shape.type_k, dim));
        add(page.values, kv_row_bytes(shape.type_v, dim));
        skip = 0;
      }
    }
  }
  return seen;
}

// One case: a sequence that is led through its steps alone, in company and with forks beside it.
class Case {
 public:
  Case(BareEngine& engine, Draws& draws)
      : engine_(engine), draws_(draws), options_(random_options(draws)) {
    variant_ = Variant::make(options_).value();
  }

  void run() {
    const std::size_t n_prompt = draws_.number(1, 60);
    SCOPED_TRACE(options_.policy + " " + options_.allocator + " " + options_.budget.text() + " " +
                 options_.schedule.text() + " after " + std::to_string(n_prompt));
    ASSERT_EQ(engine_.state().counter->now(), 0U);
    Sequence::State alone = filled(engine_, variant_, n_prompt);
    Sequence::State crowded = filled(engine_, variant_, n_prompt);
    Sequence::State other =
        filled(engine_, Variant::make(random_options(draws_)).value(), draws_.number(1, 60));
    note(alone);
    const std::size_t steps = draws_.number(1, kMostSteps);
    for (std::size_t i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) {
      const Feed feed{next_random(draws_.state)};
      step(engine_, {&alone}, {feed});
      {
        // A fork goes its own way before and after; it shares pages with the step in between.
        Sequence::State fork = BareEngine::fork(crowded);
        if (draws_.number(0, 1) == 0) step(engine_, {&fork}, {{next_random(draws_.state)}});
        if (draws_.number(0, 3) == 0) {
          step(engine_, {&other, &crowded},
               {{next_random(draws_.state)}, {next_random(draws_.state)}}, Ending::kFails);
        }
        step(engine_, {&other, &crowded}, {{next_random(draws_.state)}, feed});
        step(engine_, {&fork}, {{next_random(draws_.state)}});
      }
      check(alone);
      ASSERT_EQ(seen_of(alone), seen_of(crowded)) << "step " << i;
      ASSERT_EQ(engine_.state().counter->now(),
                alone.cache.bytes() + crowded.cache.bytes() + other.cache.bytes());
    }
  }

 private:
  [[nodiscard]] std::vector<std::size_t> rows_of_layers(const Sequence::State& sequence) const {
    std::vector<std::size_t> rows;
    const CacheShape& shape = sequence.cache.shape();
    for (int layer = 0; layer < shape.n_layer; ++layer) {
      std::size_t& sum = rows.emplace_back(0);
      for (int h = 0; h < shape.n_kv_head; ++h) sum += sequence.cache.rows(layer, h);
    }
    return rows;
  }
  void note(const Sequence::State& sequence) {
    before_ = seen_of(sequence).positions;
    held_ = rows_of_layers(sequence);
  }

  void check(const Sequence::State& sequence) {
    const CacheShape& shape = sequence.cache.shape();
    const auto heads = static_cast<std::size_t>(shape.n_kv_head);
    const auto seen = static_cast<std::size_t>(sequence.next_position);
    const bool acts = options_.schedule.acts_in_decode() && !variant_->policy().keeps_all;
    const bool due = acts && sequence.generated.steps == 0;
    const std::size_t budget = variant_->budget_rows(seen).rows;
    const std::vector<std::vector<Position>> now = seen_of(sequence).positions;
    for (std::size_t i = 0; i < now.size(); ++i) {
      ASSERT_EQ(std::ranges::adjacent_find(now[i], std::greater_equal<>()), now[i].end());
      // Nothing comes but the new row.
      for (const Position p : now[i]) {
        ASSERT_TRUE(p + 1 == sequence.next_position || std::ranges::binary_search(before_[i], p));
      }
      const std::size_t visible = visible_rows(shape, i / heads, seen);
      check_protected(now[i], sequence.next_position, visible);
      if (due && options_.allocator == "uniform") {
        ASSERT_LE(now[i].size(), budget);
      }
    }
    const std::vector<std::size_t> rows = rows_of_layers(sequence);
    std::size_t all = 0;
    std::size_t pool = 0;
    for (std::size_t layer = 0; layer < rows.size(); ++layer) {
      const std::size_t visible = visible_rows(shape, layer, seen) * heads;
      all += rows[layer];
      pool += std::min(budget * heads, visible);
      if (!due) {
        ASSERT_EQ(rows[layer], std::min(held_[layer] + heads, visible_limit(shape, layer, seen)));
      } else if (options_.allocator != "pyramid" && options_.allocator != "global") {
        ASSERT_LE(rows[layer], budget * heads);
      } else {
        ASSERT_LE(rows[layer], visible);
      }
    }
    if (due && options_.allocator == "global") {
      ASSERT_LE(all, pool);
    }
    check_counts(sequence, due);
    note(sequence);
  }

  static std::size_t visible_rows(const CacheShape& shape, std::size_t layer, std::size_t seen) {
    const auto sliding = static_cast<std::size_t>(shape.sliding_window[layer]);
    return sliding > 0 ? std::min(sliding, seen) : seen;
  }
  // Of a layer whose schedule does not act; a window that slides takes what it passes.
  [[nodiscard]] std::size_t visible_limit(const CacheShape& shape, std::size_t layer,
                                          std::size_t seen) const {
    const auto sliding = static_cast<Position>(shape.sliding_window[layer]);
    const auto heads = static_cast<std::size_t>(shape.n_kv_head);
    if (sliding == 0) return held_[layer] + heads;
    std::size_t rows = heads;
    for (std::size_t h = 0; h < heads; ++h) {
      rows += static_cast<std::size_t>(std::ranges::count_if(
          before_[layer * heads + h],
          [&](Position p) { return p > static_cast<Position>(seen) - 1 - sliding; }));
    }
    return rows;
  }
  void check_protected(const std::vector<Position>& held, Position end, std::size_t visible) const {
    const Protection& protection = variant_->protection();
    const Position oldest = end - static_cast<Position>(visible);
    for (Position p = oldest; p < std::min<Position>(protection.sinks, end); ++p) {
      ASSERT_TRUE(std::ranges::binary_search(held, p)) << p;
    }
    if (!protection.window) return;
    for (Position p = std::max(oldest, end - options_.window); p < end; ++p) {
      ASSERT_TRUE(std::ranges::binary_search(held, p)) << p;
    }
  }
  // What the report will say is what went.
  void check_counts(const Sequence::State& sequence, bool due) {
    const std::vector<std::size_t> rows = rows_of_layers(sequence);
    std::size_t gone = 0;
    for (std::size_t layer = 0; layer < rows.size(); ++layer) {
      const auto seen = static_cast<std::size_t>(sequence.next_position);
      gone += visible_limit(sequence.cache.shape(), layer, seen) - rows[layer];
    }
    dropped_ += gone;
    compressions_ += gone > 0 ? 1 : 0;
    ASSERT_TRUE(due || gone == 0);
    ASSERT_EQ(sequence.generated.dropped_rows, dropped_);
    ASSERT_EQ(sequence.generated.compressions, compressions_);
  }

  BareEngine& engine_;
  Draws& draws_;
  KvOptions options_;
  std::shared_ptr<const Variant> variant_;
  std::vector<std::vector<Position>> before_;  // positions after the step before
  std::vector<std::size_t> held_;              // rows of each layer then
  std::size_t dropped_ = 0;
  std::size_t compressions_ = 0;
};

class ScheduleProperties : public testing::TestWithParam<int> {};

TEST_P(ScheduleProperties, HoldBetweenAnyTwoSteps) {
  const std::vector<RandomModel> models = small_models();
  const auto shard = static_cast<std::size_t>(GetParam());
  BareEngine engine(models[shard % models.size()]);
  Draws draws{.state = random_at(2026, shard, 0, 0)};
  for (std::size_t i = 0; i < kCasesOfShard && !HasFatalFailure(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    Case(engine, draws).run();
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, ScheduleProperties, testing::Range(0, kShards));

}  // namespace
}  // namespace restkv
