// What must hold between any two steps of any schedule, over thousands of small caches: made-up
// rows, queries and logits in place of a model's, the engine's own schedule, policies, cache and
// choice of what a step reads.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/bare_engine.h"
#include "engine/random_variants.h"
#include "engine/renumber.h"
#include "engine/sparse_decode.h"
#include "engine/step_schedule.h"

namespace restkv {
namespace {

constexpr int kShards = 20;
constexpr std::size_t kCasesOfShard = 500;
constexpr std::size_t kMostSteps = 12;

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

// What a sequence read in a step.
struct Reads {
  std::vector<std::size_t> pages;  // their numbers, of one (layer, KV head) after the other
  std::size_t rows = 0;
  std::size_t held = 0;
  bool operator==(const Reads&) const = default;
};

std::size_t rows_of(const KvCache::HeadPages& pages) {
  std::size_t rows = 0;
  for (const PageView& page : pages.pages) rows += page.rows;
  return rows - pages.skip_rows;
}

// Turns the keys of a head where its sequence asks for it: other keys, and nothing else is new.
void renumber(BareEngine& engine, const Sequence::State& sequence, int layer, int head,
              RenumberedPages& turned, KvCache::HeadPages& pages) {
  if (!sequence.variant->renumbers()) return;
  const KvCache::HeadPages before = pages;
  turned.prepare(*engine.state().kernels, *engine.state().model, sequence.cache, layer, head);
  turned.turn(*engine.state().kernels, sequence.cache.shape(), pages);
  ASSERT_EQ(pages.pages.size(), before.pages.size());
  for (std::size_t i = 0; i < pages.pages.size(); ++i) {
    ASSERT_EQ(pages.pages[i].values, before.pages[i].values);
    ASSERT_EQ(pages.pages[i].rows, before.pages[i].rows);
  }
}

// Chooses what a layer reads as DecodeStep does. queries: [sequences, q_size].
void read_layer(BareEngine& engine, const std::vector<Sequence::State*>& sequences, int layer,
                const std::vector<float>& queries, SparseReads& sparse, std::vector<Reads>& reads) {
  const ModelConfig& config = engine.config();
  const auto heads = static_cast<std::size_t>(config.n_kv_head);
  std::vector<KvCache::HeadPages> pages(sequences.size() * heads);
  std::vector<RenumberedPages> turned(pages.size());
  std::vector<HeadRead> asked;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const std::size_t s = i / heads;
    const auto head = static_cast<int>(i % heads);
    sequences[s]->cache.pages(layer, head, pages[i]);
    renumber(engine, *sequences[s], layer, head, turned[i], pages[i]);
    asked.push_back({.sequence = s,
                     .head = i % heads,
                     .q = queries.data() + i * config.q_size() / heads,
                     .pages = &pages[i]});
  }
  const std::vector<KvCache::HeadPages> all = pages;
  sparse.plan(layer, asked);
  // What is chosen from need not be listed, unless its keys were turned.
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (!sparse.narrows(i) || sequences[i / heads]->variant->renumbers()) continue;
    pages[i].pages.clear();
    pages[i].skip_rows = 0;
  }
  sparse.narrow();
  for (std::size_t i = 0; i < pages.size(); ++i) {
    Reads& mine = reads[i / heads];
    mine.rows += rows_of(pages[i]);
    mine.held += rows_of(all[i]);
    auto next = all[i].pages.begin();  // what is read is a part of it, in order
    for (const PageView& page : pages[i].pages) {
      next = std::ranges::find(next, all[i].pages.end(), page.keys, &PageView::keys);
      ASSERT_NE(next, all[i].pages.end());
      mine.pages.push_back(static_cast<std::size_t>(next++ - all[i].pages.begin()));
    }
    ASSERT_EQ(next, all[i].pages.end()) << "the newest row is not read";
  }
}

// One step of decode as DecodeStep makes it, without the model. Answers what each sequence read.
void step(BareEngine& engine, const std::vector<Sequence::State*>& sequences,
          const std::vector<Feed>& feeds, std::vector<Reads>& reads,
          Ending ending = Ending::kDone) {
  const ModelConfig& config = engine.config();
  const auto heads = static_cast<std::size_t>(config.n_kv_head);
  const auto dim = static_cast<std::size_t>(config.head_dim);
  const auto group = static_cast<std::size_t>(config.group());
  const auto n_embd = static_cast<std::size_t>(config.n_embd);
  for (Sequence::State* sequence : sequences) {
    ASSERT_TRUE(sequence->cache.reserve_row(sequence->next_position).ok());
  }
  reads.assign(sequences.size(), {});
  SparseReads sparse(engine.state(), sequences);
  StepSchedule schedule(engine.state(), sequences);
  for (int layer = 0; layer < config.n_layer; ++layer) {
    const auto l = static_cast<std::size_t>(layer);
    std::vector<float> queries;
    std::vector<float> hidden;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      Draws rows = feeds[s].at(l, 0);
      for (std::size_t h = 0; h < heads; ++h) {
        const std::vector<float> key = rows.reals(dim);
        const std::vector<float> value = rows.reals(dim);
        sequences[s]->cache.append(*engine.state().kernels, layer, static_cast<int>(h),
                                   sequences[s]->next_position, key.data(), value.data());
      }
      std::ranges::copy(feeds[s].at(l, 1).reals(config.q_size()), std::back_inserter(queries));
      std::ranges::copy(feeds[s].at(l, 2).reals(n_embd), std::back_inserter(hidden));
    }
    schedule.begin_layer(layer);
    read_layer(engine, sequences, layer, queries, sparse, reads);
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      for (std::size_t h = 0; h < heads; ++h) {
        const StepSchedule::Logits logits = schedule.logits(s, h);
        if (logits.data == nullptr) continue;
        ASSERT_EQ(logits.stride, sequences[s]->cache.rows(layer, static_cast<int>(h)));
        const std::vector<float> drawn = feeds[s].at(l, 3 + h).reals(group * logits.stride);
        std::ranges::copy(drawn, logits.data);
      }
    }
    schedule.end_layer(layer, {queries.data(), sequences.size(), config.q_size()});
    schedule.note_hidden(layer, {hidden.data(), sequences.size(), n_embd});
  }
  const auto chosen = schedule.choose();
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  if (ending == Ending::kDone) {
    schedule.apply();
    sparse.commit();
    return;
  }
  for (Sequence::State* sequence : sequences) {
    sequence->cache.drop_from(sequence->next_position);
    sequence->summaries.clear();
  }
}

// Everything of a sequence that a later step may look at.
struct Seen {
  std::vector<std::vector<Position>> positions;  // of each set of each layer
  std::vector<std::vector<float>> sums;
  std::vector<std::vector<std::byte>> rows;  // of each KV head
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
    for (int set = 0; set < shape.n_kv_head * shape.sets; ++set) {
      seen.positions.push_back(sequence.cache.held_positions(layer, set));
      seen.sums.push_back(sequence.cache.column_sums(layer, set));
    }
    for (int h = 0; h < shape.n_kv_head; ++h) {
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

std::string text_of(const Variant& variant) {
  const KvOptions& options = variant.options();
  std::string text = options.policy + " " + options.allocator + " " + options.budget.text() + " " +
                     options.schedule.text() + " " +
                     std::string(granularity_name(options.granularity)) + " " +
                     options.decode.method;
  for (const auto& [name, value] : variant.all_options()) text += " " + name + "=" + value;
  return text;
}

// One case: a sequence that is led through its steps alone, in company and with forks beside it.
class Case {
 public:
  Case(BareEngine& engine, Draws& draws)
      : engine_(engine),
        draws_(draws),
        variant_(random_variant(draws, engine.config(), kMostSteps)),
        options_(variant_->options()) {}

  void run() {
    // Decode that reads a part needs rows to leave out: it takes three blocks or four.
    const std::size_t block = block_rows();
    const std::size_t n_prompt =
        block > 0 ? draws_.number(3 * block + 10, 4 * block + 50) : draws_.number(1, 60);
    SCOPED_TRACE(text_of(*variant_) + " after " + std::to_string(n_prompt));
    ASSERT_EQ(engine_.state().counter->now(), 0U);
    Sequence::State alone = filled(engine_, variant_, n_prompt);
    Sequence::State crowded = filled(engine_, variant_, n_prompt);
    Sequence::State other =
        filled(engine_, random_variant(draws_, engine_.config(), kMostSteps), draws_.number(1, 60));
    note(alone);
    const std::size_t steps = draws_.number(1, kMostSteps);
    for (std::size_t i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) {
      const Feed feed{next_random(draws_.state)};
      std::vector<Reads> mine;
      std::vector<Reads> theirs;
      std::vector<Reads> unseen;
      step(engine_, {&alone}, {feed}, mine);
      // Made anew, summaries are what they were.
      if (draws_.number(0, 3) == 0) crowded.summaries.clear();
      {
        // A fork goes its own way before and after; it shares pages with the step in between. It
        // has a copy of the summaries, or makes them anew.
        Sequence::State fork = BareEngine::fork(crowded);
        if (draws_.number(0, 1) == 0) fork.summaries = CacheSummaries(crowded.summaries);
        if (draws_.number(0, 1) == 0) {
          step(engine_, {&fork}, {{next_random(draws_.state)}}, unseen);
        }
        if (draws_.number(0, 3) == 0) {
          step(engine_, {&other, &crowded},
               {{next_random(draws_.state)}, {next_random(draws_.state)}}, unseen, Ending::kFails);
        }
        step(engine_, {&other, &crowded}, {{next_random(draws_.state)}, feed}, theirs);
        step(engine_, {&fork}, {{next_random(draws_.state)}}, unseen);
      }
      if (testing::Test::HasFatalFailure()) return;
      check(alone);
      ASSERT_EQ(seen_of(alone), seen_of(crowded)) << "step " << i;
      ASSERT_EQ(mine.front(), theirs.back()) << "step " << i;
      check_reads(alone, mine.front());
      check_memory({&alone, &crowded, &other});
    }
  }
  // Some step has read less than there was.
  [[nodiscard]] bool has_narrowed() const { return read_.rows < read_.held; }
  // 0: decode reads everything.
  [[nodiscard]] std::size_t block_rows() const {
    return variant_->selection() != nullptr ? variant_->selection()->block_rows : 0;
  }

 private:
  [[nodiscard]] std::vector<std::size_t> rows_of_layers(const Sequence::State& sequence) const {
    std::vector<std::size_t> rows;
    const CacheShape& shape = sequence.cache.shape();
    for (int layer = 0; layer < shape.n_layer; ++layer) {
      std::size_t& sum = rows.emplace_back(0);
      for (int set = 0; set < shape.n_kv_head * shape.sets; ++set) {
        sum += sequence.cache.held_count(layer, set);
      }
    }
    return rows;
  }
  static std::size_t sets_of_layer(const CacheShape& shape) {
    return static_cast<std::size_t>(shape.n_kv_head) * static_cast<std::size_t>(shape.sets);
  }
  void note(const Sequence::State& sequence) {
    before_ = seen_of(sequence).positions;
    held_ = rows_of_layers(sequence);
    const CacheShape& shape = sequence.cache.shape();
    const std::size_t heads =
        static_cast<std::size_t>(shape.n_layer) * static_cast<std::size_t>(shape.n_kv_head);
    // Before rows go, each head has one more.
    peak_bytes_ = std::max(peak_bytes_, sequence.cache.bytes() + heads * page_bytes(shape));
  }

  void check(const Sequence::State& sequence) {
    const CacheShape& shape = sequence.cache.shape();
    const std::size_t sets = sets_of_layer(shape);
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
      const std::size_t visible = visible_rows(shape, i / sets, seen);
      check_protected(now[i], sequence.next_position, visible);
      if (due && options_.allocator == "uniform") {
        ASSERT_LE(now[i].size(), budget);
      }
    }
    const std::vector<std::size_t> rows = rows_of_layers(sequence);
    for (std::size_t layer = 0; layer < rows.size(); ++layer) {
      if (!due) {
        ASSERT_EQ(rows[layer], std::min(held_[layer] + sets, visible_limit(shape, layer, seen)));
      } else {
        ASSERT_LE(rows[layer], visible_rows(shape, layer, seen) * sets);
      }
    }
    if (due) check_budget(shape, rows, budget, seen);
    check_stored(sequence);
    check_counts(sequence, due);
    note(sequence);
  }

  // What each allocator promises of the rows of layers. A budget counts the rows of a set.
  void check_budget(const CacheShape& shape, const std::vector<std::size_t>& rows,
                    std::size_t budget, std::size_t seen) const {
    const std::size_t sets = sets_of_layer(shape);
    const std::size_t layers = rows.size();
    std::size_t all = 0;
    std::size_t pool = 0;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      all += rows[layer];
      pool += std::min(budget, visible_rows(shape, layer, seen)) * sets;
    }
    const auto& written = options_.allocator_options;
    const bool rounds_heads =
        std::ranges::find(written, ParamValues::Assignment("form", "ffy0")) != written.end();
    if (options_.allocator == "global") {
      ASSERT_LE(all, pool);
    } else if (options_.allocator == "pyramid") {
      // Where all layers see the same: the step is rounded down, and the last layers may have to
      // keep their sinks beside the window.
      if (std::ranges::any_of(shape.sliding_window, [](int window) { return window > 0; })) return;
      const auto sinks = static_cast<std::size_t>(variant_->protection().sinks);
      const std::size_t rounding = layers > 2 ? layers * (layers - 2) / 2 : 0;
      ASSERT_LE(all, sets * (layers * (budget + sinks) + rounding));
    } else {
      // Half a row a head where each is rounded.
      for (const std::size_t kept : rows) {
        ASSERT_LE(2 * kept, (2 * budget + (rounds_heads ? 1 : 0)) * sets);
      }
    }
  }

  // A row is stored as long as some set holds it, and no page longer than it has such rows.
  static void check_stored(const Sequence::State& sequence) {
    const CacheShape& shape = sequence.cache.shape();
    std::size_t needed = 0;
    KvCache::HeadPages pages;
    for (int layer = 0; layer < shape.n_layer; ++layer) {
      for (int h = 0; h < shape.n_kv_head; ++h) {
        sequence.cache.pages(layer, h, pages);
        needed += pages_for_rows(pages.skip_rows + sequence.cache.rows(layer, h));
        std::set<Position> held;
        for (int set = h * shape.sets; set < (h + 1) * shape.sets; ++set) {
          const std::vector<Position> own = sequence.cache.held_positions(layer, set);
          held.insert(own.begin(), own.end());
        }
        ASSERT_TRUE(std::ranges::equal(sequence.cache.positions(layer, h), held));
      }
    }
    ASSERT_EQ(sequence.cache.bytes(), needed * page_bytes(shape));
  }

  // What the report will say is what was read.
  void check_reads(const Sequence::State& sequence, const Reads& reads) {
    read_.rows += reads.rows;
    read_.held += reads.held;
    ASSERT_EQ(sequence.decode_reads.rows_read, read_.rows);
    ASSERT_EQ(sequence.decode_reads.rows_held, read_.held);
    if (variant_->selection() == nullptr) {
      ASSERT_EQ(reads.rows, reads.held);
    }
  }

  // Bytes that are accounted are those of the blocks that are out, and the memory behind them is
  // there, but no more than twice of what was ever needed.
  void check_memory(const std::vector<const Sequence::State*>& sequences) const {
    constexpr std::size_t kSmallestSlab = std::size_t{64} << 10;
    std::size_t all = 0;
    for (const Sequence::State* sequence : sequences) {
      const KvCache::Memory memory = sequence->cache.memory();
      ASSERT_EQ(memory.pages, sequence->cache.bytes());
      ASSERT_GE(memory.slabs, memory.pages);
      all += memory.pages + sequence->summaries.bytes();
    }
    ASSERT_EQ(engine_.state().counter->now(), all);
    // The ends of slabs are no more than a tenth of them.
    const std::size_t most = kSmallestSlab + 2 * peak_bytes_ + peak_bytes_ / 5;
    ASSERT_LE(sequences.front()->cache.memory().slabs, most);
  }

  static std::size_t visible_rows(const CacheShape& shape, std::size_t layer, std::size_t seen) {
    const auto sliding = static_cast<std::size_t>(shape.sliding_window[layer]);
    return sliding > 0 ? std::min(sliding, seen) : seen;
  }
  // Of a layer whose schedule does not act; a window that slides takes what it passes.
  [[nodiscard]] std::size_t visible_limit(const CacheShape& shape, std::size_t layer,
                                          std::size_t seen) const {
    const auto sliding = static_cast<Position>(shape.sliding_window[layer]);
    const std::size_t sets = sets_of_layer(shape);
    if (sliding == 0) return held_[layer] + sets;
    std::size_t rows = sets;
    for (std::size_t set = 0; set < sets; ++set) {
      rows += static_cast<std::size_t>(std::ranges::count_if(
          before_[layer * sets + set],
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
  std::shared_ptr<const Variant> variant_;
  const KvOptions& options_;
  std::vector<std::vector<Position>> before_;  // positions after the step before
  std::vector<std::size_t> held_;              // rows of each layer then
  std::size_t peak_bytes_ = 0;
  Reads read_;  // in all steps
  std::size_t dropped_ = 0;
  std::size_t compressions_ = 0;
};

class ScheduleProperties : public testing::TestWithParam<int> {};

TEST_P(ScheduleProperties, HoldBetweenAnyTwoSteps) {
  const std::vector<RandomModel> models = small_models();
  const auto shard = static_cast<std::size_t>(GetParam());
  BareEngine engine(models[shard % models.size()]);
  Draws draws{.state = random_at(2026, shard, 0, 0)};
  std::map<std::size_t, std::size_t> narrowed;  // cases of each block size
  for (std::size_t i = 0; i < kCasesOfShard && !HasFatalFailure(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    Case one(engine, draws);
    one.run();
    if (one.has_narrowed()) ++narrowed[one.block_rows()];
  }
  for (const std::size_t block : kBlockSizes) {
    EXPECT_GT(narrowed[block], kCasesOfShard / 200) << "cases in which decode left blocks out";
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, ScheduleProperties, testing::Range(0, kShards));

bool is_number(const ParamInfo& param) {
  return param.kind == ParamKind::kInteger || param.kind == ParamKind::kNumber;
}

// No setting is refused whatever it is drawn with, or forgotten.
TEST(ScheduleCases, AreOfEverySetting) {
  const std::vector<RandomModel> models = small_models();
  BareEngine engine(models.front());
  Draws draws{.state = random_at(2026, kShards, 0, 0)};
  std::set<std::string> drawn;
  const auto add = [&](const std::string& what, const std::string& name) {
    drawn.insert(what + " " + name);
  };
  const auto add_with_options = [&](const std::string& what, const auto& info,
                                    const std::vector<ParamValues::Assignment>& assignments) {
    std::string text(info.name);
    for (const auto& [option, value] : assignments) {
      const ParamInfo& param = *std::ranges::find(info.params, option, &ParamInfo::name);
      if (!is_number(param)) text += ":" + option + "=" + value;
      if (is_number(param)) add(what, std::string(info.name) + ":" + option);
    }
    add(what, text);
  };
  for (int i = 0; i < 3000; ++i) {
    const auto variant = random_variant(draws, engine.config(), kMostSteps);
    const KvOptions& options = variant->options();
    add_with_options("policy", variant->policy(), options.policy_options);
    add_with_options("allocator", variant->allocator_info(), options.allocator_options);
    add("granularity", std::string(granularity_name(options.granularity)));
    add("group", std::string(group_score_name(options.group_score)));
    add("decode attention", options.decode.method);
    add("keys", std::string(kv_type_name(options.type_k)));
    add("values", std::string(kv_type_name(options.type_v)));
  }
  const auto expect_numbers = [&](const std::string& what, const auto& table) {
    for (const auto* info : table) {
      for (const ParamInfo& param : info->params) {
        const std::string text = std::string(info->name) + ":" + std::string(param.name);
        EXPECT_TRUE(!is_number(param) || drawn.contains(what + " " + text)) << text;
      }
    }
  };
  expect_numbers("policy", all_policies());
  expect_numbers("allocator", all_allocators());
  for (const Dimension& dimension : combination_dimensions()) {
    if (dimension.name == "schedule" || dimension.name == "prefill") continue;
    for (const Setting& setting : dimension.settings) {
      EXPECT_TRUE(drawn.contains(dimension.name + " " + setting.text)) << setting.text;
    }
  }
}

}  // namespace
}  // namespace restkv
