#pragma once

// What the engine's tests share: engines of random models, and runs whose logits can be compared.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "restkv/engine.h"
#include "support/gguf_writer.h"
#include "support/random_model.h"

namespace restkv {

// Sum of squared differences over the sum of squares of `expected`.
[[nodiscard]] double mean_square_error(std::span<const float> actual,
                                       std::span<const float> expected);

// A file name of this process; `stem` need not be unique.
[[nodiscard]] std::string temporary_model_path(const std::string& stem);

// An engine of a file that is removed with it. f32 products, one thread, and chunks of 64 tokens,
// unless said otherwise.
class TestEngine {
 public:
  explicit TestEngine(const RandomModel& model, EngineOptions options = default_options());
  explicit TestEngine(const GgufWriter& file, EngineOptions options = default_options());
  ~TestEngine();
  TestEngine(const TestEngine&) = delete;
  TestEngine& operator=(const TestEngine&) = delete;

  [[nodiscard]] static EngineOptions default_options();
  [[nodiscard]] const std::string& path() const { return path_; }
  Engine* operator->() { return engine_.get(); }
  Engine& operator*() { return *engine_; }

  // One sequence; a failure fails the test and ends the process.
  struct Prefilled {
    Sequence sequence;
    std::vector<float> last_logits;
  };
  [[nodiscard]] Prefilled prefill(std::span<const Token> tokens, const KvOptions& options);
  // Logits of every position of a prefill.
  [[nodiscard]] std::vector<float> all_logits(std::span<const Token> tokens,
                                              const KvOptions& options);
  // Decodes the tokens one by one; logits after each, [tokens, n_vocab].
  std::vector<float> decode(Sequence& sequence, std::span<const Token> tokens);
  std::vector<float> extend(Sequence& sequence, std::span<const Token> tokens);

 private:
  std::string path_;
  std::unique_ptr<Engine> engine_;
};

// Names a test of one family.
[[nodiscard]] std::string family_name(const testing::TestParamInfo<RandomModel>& info);

// The full cache in one element type.
[[nodiscard]] KvOptions full_cache(KvType type = KvType::kF32);

}  // namespace restkv
