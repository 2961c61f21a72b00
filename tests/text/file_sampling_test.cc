// What a model's file asks for when tokens are drawn.

#include "text/file_sampling.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/process_folder.h"
#include "support/tiny_llama.h"
#include "text/vocabulary.h"

namespace restkv {
namespace {

// The vocabulary of a file with more keys.
Result<std::shared_ptr<const Vocabulary>> vocabulary_with(
    const std::function<void(GgufWriter&)>& add) {
  GgufWriter file = tiny_llama().file();
  add(file);
  const std::string path = process_file("sampling.gguf");
  EXPECT_TRUE(file.write(path).ok());
  return Vocabulary::load(path);
}

TEST(FileSampling, OfMostFilesIsNothing) {
  const auto vocabulary = vocabulary_with([](GgufWriter&) {});
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message;
  const SamplerOptions usual;
  const SamplerOptions options = with_wishes(usual, (*vocabulary)->sampling().wishes);
  EXPECT_EQ(options.temperature, usual.temperature);
  EXPECT_EQ(options.top_k, usual.top_k);
  EXPECT_EQ(options.repeat_last_n, usual.repeat_last_n);
  EXPECT_TRUE((*vocabulary)->sampling().not_done.empty());
}

TEST(FileSampling, StandsInForWhatNobodyTyped) {
  const auto vocabulary = vocabulary_with([](GgufWriter& file) {
    file.set_f32("general.sampling.temp", 0.7F);
    file.set_i32("general.sampling.top_k", 20);
    file.set_f32("general.sampling.top_p", 0.8F);
    file.set_f32("general.sampling.min_p", 0.0F);
    file.set_f32("general.sampling.penalty_repeat", 1.05F);
    file.set_i32("general.sampling.penalty_last_n", 128);
  });
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message;
  const SamplerWishes typed{.top_k = 5};
  const SamplerOptions options =
      with_wishes(with_wishes({}, (*vocabulary)->sampling().wishes), typed);
  EXPECT_FLOAT_EQ(options.temperature, 0.7F);
  EXPECT_EQ(options.top_k, 5);
  EXPECT_FLOAT_EQ(options.top_p, 0.8F);
  EXPECT_EQ(options.min_p, 0.0F);
  EXPECT_FLOAT_EQ(options.repeat_penalty, 1.05F);
  EXPECT_EQ(options.repeat_last_n, 128);
}

TEST(FileSampling, SaysWhatIsNotDone) {
  const auto vocabulary = vocabulary_with([](GgufWriter& file) {
    file.set_i32("general.sampling.mirostat", 2);
    file.set_f32("general.sampling.xtc_probability", 0.0F);  // off
    file.set_str("general.sampling.sequence", "top_k;temperature");
  });
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message;
  EXPECT_EQ((*vocabulary)->sampling().not_done,
            (std::vector<std::string>{"general.sampling.sequence = 'top_k;temperature'",
                                      "general.sampling.mirostat = '2'"}));
}

TEST(FileSampling, OutOfRangeIsRefused) {
  const std::pair<std::string, std::string> cases[] = {
      {"temp", "nan"},  {"temp", "-1"},          {"top_p", "1.5"},         {"top_k", "1e30"},
      {"min_p", "0,1"}, {"penalty_repeat", "0"}, {"penalty_last_n", "-1"}, {"top_k", "many"}};
  for (const auto& [key, value] : cases) {
    const auto vocabulary =
        vocabulary_with([&](GgufWriter& file) { file.set_str("general.sampling." + key, value); });
    ASSERT_FALSE(vocabulary.ok()) << key << " = " << value;
    EXPECT_EQ(vocabulary.error().code, ErrorCode::kCorrupt);
    EXPECT_TRUE(vocabulary.error().message.ends_with("sampling.gguf: general.sampling." + key +
                                                     " = '" + value + "' is out of range"))
        << vocabulary.error().message;
  }
}

}  // namespace
}  // namespace restkv
