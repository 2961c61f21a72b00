// What a model file must hold, and the one line that says what is missing or cannot be done.

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>

#include "model/family.h"
#include "model/model.h"
#include "support/random_model.h"

namespace restkv {
namespace {

constexpr int kF32 = 0;  // GGML_TYPE_F32

Result<std::unique_ptr<Model>> load(const GgufWriter& writer) {
  const std::vector<std::byte> bytes = writer.bytes();
  // On an 8-byte boundary, as a mapping would be.
  std::vector<std::uint64_t> aligned((bytes.size() + 7) / 8);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  auto file = GgufFile::from_memory(
      {reinterpret_cast<const std::byte*>(aligned.data()), bytes.size()}, "file");
  if (!file.ok()) return file.error();
  auto model = Model::load(*file, {});
  if (!model.ok()) return model.error();
  return std::unique_ptr<Model>();  // the bytes end here, and what points into them
}

struct Refusal {
  std::string name;
  RandomModel model;
  std::function<void(GgufWriter&)> change;
  ErrorCode code = ErrorCode::kCorrupt;
  std::string message;
};

void PrintTo(const Refusal& one, std::ostream* out) { *out << one.name; }  // NOLINT(*-naming)

std::function<void(GgufWriter&)> set(const std::string& key, std::uint32_t value) {
  return [=](GgufWriter& file) { file.set_u32(key, value); };
}

std::function<void(GgufWriter&)> add(const std::string& name, std::int64_t n) {
  return [=](GgufWriter& file) {
    file.add_tensor(name, {n}, std::vector<float>(static_cast<std::size_t>(n), 1.0F), kF32);
  };
}

std::vector<Refusal> refusals() {
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  return {
      {.name = "unknown_family",
       .model = random_llama(),
       .change = [](GgufWriter& file) { file.set_str("general.architecture", "mamba"); },
       .code = kUnsupported,
       .message = "file: architecture 'mamba' (known: gemma, gemma2, gemma3, llama, qwen2, qwen3)"},
      {.name = "missing_tensor",
       .model = random_llama(),
       .change = set("llama.block_count", 4),
       .message = "file: missing tensor blk.3.attn_norm.weight"},
      {.name = "more_layers_than_are_said",
       .model = random_llama(),
       .change = set("llama.block_count", 2),
       .code = kUnsupported,
       .message = "file: tensor blk.2.attn_norm.weight [128] f32 is no part of a llama model that "
                  "can be run here"},
      {.name = "wrong_shape",
       .model = random_llama(),
       .change = set("llama.feed_forward_length", 200),
       .message = "file: tensor blk.0.ffn_gate.weight [128, 192] f32 should be [128, 200]"},
      {.name = "wrong_heads",
       .model = random_llama(),
       .change = set("llama.attention.head_count", 6),
       .message = "file: tensor blk.0.attn_q.weight [128, 256] f32 should be [128, 384]"},
      {.name = "heads_that_do_not_divide",
       .model = random_llama(),
       .change = set("llama.attention.head_count_kv", 3),
       .message = "file: 4 query heads cannot share 3 KV heads"},
      {.name = "missing_key",
       .model = random_llama(),
       .change = [](GgufWriter& file) { file.remove("llama.embedding_length"); },
       .message = "file: missing key llama.embedding_length"},
      {.name = "vocabulary_of_another_size",
       .model = random_llama(),
       .change = [](GgufWriter& file) { tiny_vocabulary(file, 90); },
       .message = "file: tensor token_embd.weight [128, 100] f32 does not match the vocabulary of "
                  "90 tokens"},
      {.name = "experts",
       .model = random_llama(),
       .change = set("llama.expert_count", 8),
       .code = kUnsupported,
       .message = "file: a mixture of experts"},
      {.name = "not_causal",
       .model = random_qwen2(),
       .change = [](GgufWriter& file) { file.set_bool("qwen2.attention.causal", false); },
       .code = kUnsupported,
       .message = "file: attention that is not causal"},
      {.name = "layers_of_several_tokens",
       .model = random_qwen3(),
       .change = set("qwen3.nextn_predict_layers", 1),
       .code = kUnsupported,
       .message = "file: layers that predict several tokens"},
      {.name = "sliding_layers_of_another_shape",
       .model = random_gemma3(),
       .change = set("gemma3.attention.key_length_swa", 32),
       .code = kUnsupported,
       .message =
           "file: sliding layers that differ in shape: gemma3.attention.key_length_swa = 32"},
      {.name = "partial_rotation_of_llama",
       .model = random_llama(),
       .change = set("llama.rope.dimension_count", 32),
       .message = "file: llama rotates whole heads, but llama.rope.dimension_count says otherwise"},
      {.name = "scaling_of_another_kind",
       .model = random_llama(),
       .change = [](GgufWriter& file) { file.set_str("llama.rope.scaling.type", "longrope"); },
       .code = kUnsupported,
       .message = "file: llama.rope.scaling.type 'longrope' (known: none, linear, yarn)"},
      {.name = "rope_factors_where_they_are_not_used",
       .model = random_qwen2(),
       .change = add("rope_freqs.weight", 32),
       .code = kUnsupported,
       .message = "file: tensor rope_freqs.weight [32] f32 is no part of a qwen2 model that can be "
                  "run here"},
      {.name = "norms_of_another_family",
       .model = random_llama(),
       .change = add("blk.0.attn_q_norm.weight", 64),
       .code = kUnsupported,
       .message = "file: tensor blk.0.attn_q_norm.weight [64] f32 is no part of a llama model that "
                  "can be run here"},
      {.name = "scales_of_weights",
       .model = random_llama(),
       .change = add("blk.0.attn_q.scale", 1),
       .code = kUnsupported,
       .message = "file: tensor blk.0.attn_q.scale [1] f32 is no part of a llama model that can be "
                  "run here"},
      {.name = "pattern_that_is_too_short",
       .model = random_gemma3(),
       .change =
           [](GgufWriter& file) {
             file.set_bools("gemma3.attention.sliding_window_pattern", std::vector<std::int8_t>{1});
           },
       .message = "file: gemma3.attention.sliding_window_pattern has fewer entries than the model "
                  "has layers"},
      {.name = "window_rope_base_of_nothing",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { file.set_f32("gemma3.rope.freq_base_swa", 0.0F); },
       .message = "file: RoPE base or scaling factor is out of range"},
      {.name = "negative_window_rope_base",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { file.set_f32("gemma2.rope.freq_base_swa", -1e4F); },
       .message = "file: RoPE base or scaling factor is out of range"},
      {.name = "no_window",
       .model = random_gemma2(),
       .change = set("gemma2.attention.sliding_window", 0),
       .message = "file: gemma2.attention.sliding_window = 0 is out of range"},
      {.name = "negative_soft_cap",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { file.set_f32("gemma2.attn_logit_softcapping", -50.0F); },
       .message = "file: gemma2.attn_logit_softcapping = -50.000000 is out of range"},
      {.name = "soft_cap_of_nothing",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { file.set_f32("gemma2.final_logit_softcapping", 0.0F); },
       .message = "file: gemma2.final_logit_softcapping = 0.000000 is out of range"},
      {.name = "negative_soft_cap_of_gemma3",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { file.set_f32("gemma3.final_logit_softcapping", -30.0F); },
       .message = "file: gemma3.final_logit_softcapping = -30.000000 is out of range"},
      {.name = "negative_original_context",
       .model = random_llama(),
       .change =
           [](GgufWriter& file) { file.set_i32("llama.rope.scaling.original_context_length", -4); },
       .message = "file: llama.rope.scaling.original_context_length = -4 is out of range"},
  };
}

class ModelFile : public testing::TestWithParam<Refusal> {};

TEST_P(ModelFile, IsRefusedWithOneLine) {
  GgufWriter file = random_model_file(GetParam().model);
  GetParam().change(file);
  const auto model = load(file);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().message, GetParam().message);
  EXPECT_EQ(error_code_name(model.error().code), error_code_name(GetParam().code));
}

INSTANTIATE_TEST_SUITE_P(Refusals, ModelFile, testing::ValuesIn(refusals()),
                         [](const testing::TestParamInfo<Refusal>& one) { return one.param.name; });

TEST(ModelFiles, ANameHasNothingThatATerminalWouldObey) {
  GgufWriter writer = random_model_file(random_llama());
  writer.set_str("general.name", "caf\u00e9\n\x1b[2J\x7f");
  const std::vector<std::byte> bytes = writer.bytes();
  const auto file = GgufFile::from_memory(bytes, "file");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto config = read_config(**file, {});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->name, "caf\u00e9??[2J?");
}

// As in libllama: the context that the model was trained for.
TEST(ModelFiles, AnOriginalContextOfZeroIsNone) {
  GgufWriter writer = random_model_file(random_llama());
  writer.set_str("llama.rope.scaling.type", "yarn");
  writer.set_u32("llama.rope.scaling.original_context_length", 0);
  const std::vector<std::byte> bytes = writer.bytes();
  const auto file = GgufFile::from_memory(bytes, "file");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto config = read_config(**file, {});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->yarn.original_context, config->n_ctx_train);
}

TEST(ModelFiles, OfEveryFamilyAreAccepted) {
  std::size_t seen = 0;
  for (const RandomModel& model : {random_gemma(), random_gemma2(), random_gemma3(), random_llama(),
                                   random_qwen2(), random_qwen3()}) {
    const auto loaded = load(random_model_file(model));
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(all_families()[seen]->name, model.family);
    ++seen;
  }
  EXPECT_EQ(seen, all_families().size());
}

}  // namespace
}  // namespace restkv
