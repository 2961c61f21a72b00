#include "engine/harness.h"

#include <atomic>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

// The value, or the error's text and an end of the test.
template <typename T>
T value_of(Result<T> result) {
  if (!result.ok()) ADD_FAILURE() << result.error().message;
  RESTKV_CHECK(result.ok());
  return std::move(result).value();
}

std::string write_file(const GgufWriter& file) {
  std::string path = temporary_model_path("engine");
  const auto written = file.write(path);
  RESTKV_CHECK(written.ok());
  return path;
}

std::unique_ptr<Engine> load(const std::string& path, EngineOptions options) {
  options.model_path = path;
  return value_of(Engine::load(options));
}

}  // namespace

double mean_square_error(std::span<const float> actual, std::span<const float> expected) {
  RESTKV_CHECK(actual.size() == expected.size() && !expected.empty());
  double error = 0;
  double total = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = double(actual[i]) - double(expected[i]);
    error += difference * difference;
    total += double(expected[i]) * double(expected[i]);
  }
  return error / total;
}

std::string temporary_model_path(const std::string& stem) {
  static std::atomic<int> count = 0;
  return process_file(stem + "_" + std::to_string(count++) + ".gguf");
}

EngineOptions TestEngine::default_options() {
  return {.model_path = {},
          .n_threads = 1,
          .kernels = {},
          .chunk = 64,
          .products = ProductMode::kF32,
          .rope = {}};
}

TestEngine::TestEngine(const RandomModel& model, EngineOptions options)
    : TestEngine(random_model_file(model), std::move(options)) {}

TestEngine::TestEngine(const GgufWriter& file, EngineOptions options)
    : path_(write_file(file)), engine_(load(path_, std::move(options))) {}

TestEngine::~TestEngine() {
  engine_.reset();
  std::remove(path_.c_str());
}

TestEngine::Prefilled TestEngine::prefill(std::span<const Token> tokens, const KvOptions& options) {
  std::vector<float> logits;
  std::vector<Sequence> sequences = value_of(engine_->prefill(tokens, {&options, 1}, {}, logits));
  return {.sequence = std::move(sequences.front()), .last_logits = std::move(logits)};
}

std::vector<float> TestEngine::all_logits(std::span<const Token> tokens, const KvOptions& options) {
  std::vector<float> all;
  PrefillOptions prefill;
  prefill.on_logits = [&](std::size_t first, View2<const float> logits) {
    EXPECT_EQ(first * logits.cols, all.size());
    for (std::size_t i = 0; i < logits.rows; ++i) {
      all.insert(all.end(), logits.row(i).begin(), logits.row(i).end());
    }
  };
  std::vector<float> last;
  (void)value_of(engine_->prefill(tokens, {&options, 1}, prefill, last));
  EXPECT_EQ(all.size(), tokens.size() * last.size());
  return all;
}

std::vector<float> TestEngine::decode(Sequence& sequence, std::span<const Token> tokens) {
  const auto n_vocab = static_cast<std::size_t>(engine_->model().n_vocab);
  std::vector<float> all(tokens.size() * n_vocab);
  Sequence* const one = &sequence;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto done =
        engine_->decode({&one, 1}, tokens.subspan(i, 1), {all.data() + i * n_vocab, 1, n_vocab});
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  return all;
}

std::vector<float> TestEngine::extend(Sequence& sequence, std::span<const Token> tokens) {
  std::vector<float> logits;
  const auto done = engine_->extend(sequence, tokens, {}, logits);
  EXPECT_TRUE(done.ok()) << done.error().message;
  return logits;
}

std::string family_name(const testing::TestParamInfo<RandomModel>& info) {
  return info.param.family;
}

KvOptions full_cache(KvType type) {
  KvOptions options;
  options.policy = "full";
  options.type_k = type;
  options.type_v = type;
  return options;
}

}  // namespace restkv
