#pragma once

// An engine's state and its sequences without the public border, of models that cost next to
// nothing: for tests that take many small steps.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/harness.h"
#include "engine/state.h"
#include "engine/synthetic.h"

namespace restkv {

// Many heads for one group, groups of one, a group of all; with and without windows that
// slide.
inline std::vector<RandomModel> small_models() {
  RandomModel grouped{.n_layer = 2, .n_embd = 32, .n_ff = 32};
  grouped.head_dim = 32;
  RandomModel alone = grouped;
  alone.n_head = 2;
  RandomModel one = grouped;
  one.n_layer = 1;
  one.n_kv_head = 1;
  RandomModel sliding = random_gemma2();
  sliding.n_layer = 2;
  sliding.n_embd = 32;
  sliding.n_ff = 32;
  sliding.head_dim = 32;
  sliding.sliding_window = 20;
  return {grouped, alone, one, sliding};
}

class BareEngine {
 public:
  explicit BareEngine(const RandomModel& model) : file_(model) {
    auto file = GgufFile::open(file_.path(), {});
    EXPECT_TRUE(file.ok());
    state_.model = *Model::load(*file, {});
    state_.kernels = &best_table();
    state_.threads = Threads(1);
  }
  Engine::State& state() { return state_; }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const ModelConfig& config() const { return state_.model->config(); }

  // Made-up rows for `n` tokens, as many as the variant keeps of them.
  Sequence::State sequence(const std::shared_ptr<const Variant>& variant, std::size_t n) {
    auto made = make_synthetic_sequence(state_, variant, n);
    EXPECT_TRUE(made.ok());
    return std::move(made).value();
  }
  // As Sequence::fork(), but without the summaries of blocks: they are made anew when asked for.
  static Sequence::State fork(const Sequence::State& sequence) {
    return {.variant = sequence.variant,
            .cache = sequence.cache.fork(),
            .next_position = sequence.next_position,
            .report = {},
            .queries = sequence.queries,
            .generated = sequence.generated,
            .cursors = sequence.cursors};
  }

 private:
  TestEngine file_;
  Engine::State state_;
};

}  // namespace restkv
