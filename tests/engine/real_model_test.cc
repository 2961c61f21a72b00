// A real model against libllama: both are fed the tokens that libllama picks, and must agree on the
// next one wherever libllama itself is sure.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>

#include "engine/harness.h"
#include "engine/libllama_oracle.h"

namespace restkv {
namespace {

constexpr std::size_t kTokens = 64;

const std::vector<std::string>& texts() {
  static const std::vector<std::string> kTexts = {
      "The lighthouse keeper climbed the stairs every evening at six. One night in November",
      "def median(values):\n    \"\"\"The middle value of a list of numbers.\"\"\"\n",
      "<|im_start|>user\nName three rivers of Europe and the seas they flow into.<|im_end|>\n"
      "<|im_start|>assistant\n",
      "<|im_start|>user\nWrite a C function that reverses a string in place.<|im_end|>\n"
      "<|im_start|>assistant\n",
      "<|im_start|>user\nA baker sells 14 loaves in the morning and twice as many in the "
      "afternoon. How many loaves are sold that day?<|im_end|>\n<|im_start|>assistant\n",
  };
  return kTexts;
}

struct Agreement {
  std::size_t compared = 0;
  std::size_t sure = 0;             // libllama's two best differ by more than the limit
  std::size_t wrong_when_sure = 0;  // and we pick another token
  std::size_t wrong = 0;
  double rms = 0;  // of the difference of all logits
};

// Our logits for the same tokens, [kTokens, n_vocab]: fed one by one, as an answer is written.
std::vector<float> decoded_logits(Engine& engine, const LibllamaAnswer& answer) {
  std::vector<float> logits;
  const KvOptions options = full_cache();
  auto sequences = engine.prefill(answer.prompt, {&options, 1}, {}, logits);
  if (!sequences.ok()) {
    ADD_FAILURE() << sequences.error().message;
    return {};
  }
  std::vector<float> all = logits;
  Sequence* const one = &sequences->front();
  for (std::size_t i = 0; i + 1 < answer.tokens.size(); ++i) {
    const View2<float> row(logits.data(), 1, logits.size());
    EXPECT_TRUE(engine.decode({&one, 1}, {&answer.tokens[i], 1}, row).ok());
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

// The same, read at once as if they were part of the prompt: much faster with f32 products.
std::vector<float> read_logits(Engine& engine, const LibllamaAnswer& answer) {
  std::vector<Token> tokens = answer.prompt;
  tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end() - 1);
  std::vector<float> all;
  PrefillOptions options;
  options.logits_from = answer.prompt.size() - 1;
  options.on_logits = [&all](std::size_t /*first*/, View2<const float> logits) {
    for (std::size_t i = 0; i < logits.rows; ++i) {
      all.insert(all.end(), logits.row(i).begin(), logits.row(i).end());
    }
  };
  const KvOptions cache = full_cache();
  std::vector<float> last;
  const auto sequences = engine.prefill(tokens, {&cache, 1}, options, last);
  if (!sequences.ok()) ADD_FAILURE() << sequences.error().message;
  return all;
}

using OurLogits = std::vector<float>(Engine&, const LibllamaAnswer&);

Agreement compare(Engine& engine, OurLogits& our_logits, const std::vector<LibllamaAnswer>& answers,
                  const std::function<double(double rms)>& limit_of) {
  Agreement result;
  std::vector<std::vector<float>> ours;
  double squares = 0;
  std::size_t count = 0;
  for (const LibllamaAnswer& answer : answers) {
    ours.push_back(our_logits(engine, answer));
    if (ours.back().size() != answer.logits.size()) {
      ADD_FAILURE() << "other numbers of logits";
      return result;
    }
    for (std::size_t i = 0; i < answer.logits.size(); ++i) {
      const double difference = static_cast<double>(ours.back()[i]) - answer.logits[i];
      squares += difference * difference;
    }
    count += answer.logits.size();
  }
  result.rms = std::sqrt(squares / static_cast<double>(count));
  const double limit = limit_of(result.rms);
  for (std::size_t a = 0; a < answers.size(); ++a) {
    const std::size_t n_vocab = answers[a].logits.size() / kTokens;
    for (std::size_t i = 0; i < kTokens; ++i) {
      const auto theirs = answers[a].logits.begin() + static_cast<std::ptrdiff_t>(i * n_vocab);
      const auto mine = ours[a].begin() + static_cast<std::ptrdiff_t>(i * n_vocab);
      const float best = theirs[answers[a].tokens[i]];
      float second = -std::numeric_limits<float>::infinity();
      for (std::size_t v = 0; v < n_vocab; ++v) {
        const bool is_best = static_cast<Token>(v) == answers[a].tokens[i];
        if (!is_best) second = std::max(second, theirs[static_cast<std::ptrdiff_t>(v)]);
      }
      const auto pick = std::max_element(mine, mine + static_cast<std::ptrdiff_t>(n_vocab)) - mine;
      const bool is_wrong = pick != answers[a].tokens[i];
      const bool is_sure = static_cast<double>(best) - second > limit;
      ++result.compared;
      result.wrong += is_wrong ? 1 : 0;
      result.sure += is_sure ? 1 : 0;
      result.wrong_when_sure += is_wrong && is_sure ? 1 : 0;
    }
  }
  std::cout << result.compared << " tokens, RMS difference of logits " << result.rms << ", "
            << result.wrong << " other picks, " << result.wrong_when_sure << " of them where "
            << "libllama is sure (" << result.sure << " tokens, gap above " << limit << ")\n";
  return result;
}

class RealModel : public testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("RESTKV_TEST_MODEL");
    if (path == nullptr || *path == '\0') GTEST_SKIP() << "RESTKV_TEST_MODEL is not set";
    path_ = path;
  }
  // An engine of a file, at its own threads.
  static std::unique_ptr<Engine> load(const std::string& path, ProductMode products) {
    EngineOptions options;
    options.model_path = path;
    options.products = products;
    auto engine = Engine::load(options);
    if (!engine.ok()) {
      ADD_FAILURE() << engine.error().message;
      return nullptr;
    }
    return std::move(engine).value();
  }
  std::string path_;
};

TEST_F(RealModel, PicksLibllamasTokens) {
  const auto answers = libllama_answers(path_, texts(), kTokens);
  ASSERT_TRUE(answers.ok()) << answers.error().message;
  const auto engine = load(path_, ProductMode::kAuto);
  ASSERT_NE(engine, nullptr);
  const Agreement seen =
      compare(*engine, decoded_logits, *answers, [](double rms) { return 4 * rms; });
  EXPECT_GT(seen.sure, seen.compared / 2);
  EXPECT_EQ(seen.wrong_when_sure, 0U);
}

TEST_F(RealModel, PicksTheTokensOfTheExpandedWeights) {
  const std::string expanded = temporary_model_path("expanded");
  const auto written = write_expanded_to_f32(path_, expanded);
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto answers = libllama_answers(expanded, texts(), kTokens);
  std::filesystem::remove(expanded);
  ASSERT_TRUE(answers.ok()) << answers.error().message;
  const auto engine = load(path_, ProductMode::kF32);
  ASSERT_NE(engine, nullptr);
  const Agreement seen =
      compare(*engine, read_logits, *answers, [](double /*rms*/) { return 1e-2; });
  EXPECT_GT(seen.sure, seen.compared * 9 / 10);
  EXPECT_EQ(seen.wrong_when_sure, 0U);
}

}  // namespace
}  // namespace restkv
