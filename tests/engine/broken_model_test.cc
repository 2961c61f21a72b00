// Files that are whole as files, but not as models: Engine::load refuses each in one line that
// names the file and what is wrong with it.

#include <ggml.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "restkv/engine.h"
#include "support/process_folder.h"
#include "support/tiny_llama.h"

namespace restkv {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct BrokenModel {
  const char* name;
  std::function<void(TinyLlama&)> change;
  const char* error;  // what follows "<path>: "; empty: it loads
  ErrorCode code = ErrorCode::kCorrupt;
};
std::ostream& operator<<(std::ostream& out, const BrokenModel& one) { return out << one.name; }

const std::vector<BrokenModel>& key_cases() {
  static const std::vector<BrokenModel> table = {
      {"Untouched", [](TinyLlama&) {}, ""},
      {"UnknownArchitecture", [](TinyLlama& m) { m.keys.set_str("general.architecture", "mamba"); },
       "architecture 'mamba' (known: gemma, gemma2, gemma3, llama, qwen2, qwen3)",
       ErrorCode::kUnsupported},
      {"NameIsANumber", [](TinyLlama& m) { m.keys.set_u32("general.name", 5); },
       "key 'general.name' is a u32, not a string"},
      {"NoLayers", [](TinyLlama& m) { m.keys.set_u32("llama.block_count", 0); },
       "llama.block_count = 0 is out of range"},
      {"BillionsOfLayers", [](TinyLlama& m) { m.keys.set_u32("llama.block_count", 4000000000U); },
       "llama.block_count = 4000000000 is out of range"},
      {"TooManyLayers", [](TinyLlama& m) { m.keys.set_u32("llama.block_count", 1025); },
       "llama.block_count is out of range"},
      {"OneLayerMore", [](TinyLlama& m) { m.keys.set_u32("llama.block_count", 3); },
       "missing tensor blk.2.attn_norm.weight"},
      {"LayerCountIsMissing", [](TinyLlama& m) { m.keys.remove("llama.block_count"); },
       "missing key llama.block_count"},
      {"LayerCountIsText", [](TinyLlama& m) { m.keys.set_str("llama.block_count", "2"); },
       "key 'llama.block_count' is a string, not an integer"},
      {"WidthIsMissing", [](TinyLlama& m) { m.keys.remove("llama.embedding_length"); },
       "missing key llama.embedding_length"},
      {"WidthIsNegative", [](TinyLlama& m) { m.keys.set_i32("llama.embedding_length", -64); },
       "llama.embedding_length = -64 is out of range"},
      {"WidthIsHuge", [](TinyLlama& m) { m.keys.set_u32("llama.embedding_length", 1U << 30); },
       "llama.embedding_length is out of range"},
      {"AnotherWidth",
       [](TinyLlama& m) {
         m.keys.set_u32("llama.embedding_length", 128);
         m.keys.remove("llama.rope.dimension_count");
       },
       "tensor token_embd.weight [64, 48] f32 should be [128, 48]"},
      {"ContextIsMissing", [](TinyLlama& m) { m.keys.remove("llama.context_length"); },
       "missing key llama.context_length"},
      {"HiddenWidthsDiffer",
       [](TinyLlama& m) {
         m.keys.set_u32s("llama.feed_forward_length", std::array<std::uint32_t, 2>{96, 64});
       },
       "layers differ in llama.feed_forward_length", ErrorCode::kUnsupported},
      {"NoHeads", [](TinyLlama& m) { m.keys.set_u32("llama.attention.head_count", 0); },
       "llama.attention.head_count = 0 is out of range"},
      {"HeadsThatCannotBeShared",
       [](TinyLlama& m) {
         m.keys.set_u32("llama.attention.head_count", 4);
         m.keys.set_u32("llama.attention.head_count_kv", 3);
       },
       "4 query heads cannot share 3 KV heads"},
      {"MoreKvHeadsThanHeads",
       [](TinyLlama& m) { m.keys.set_u32("llama.attention.head_count_kv", 4); },
       "2 query heads cannot share 4 KV heads"},
      {"KeyLengthIsHuge",
       [](TinyLlama& m) {
         m.keys.set_u32("llama.attention.key_length", 1U << 20);
         m.keys.set_u32("llama.attention.value_length", 1U << 20);
       },
       "head dimension 1048576 is out of range"},
      {"KeyLengthIsOdd",
       [](TinyLlama& m) {
         m.keys.set_u32("llama.attention.key_length", 33);
         m.keys.set_u32("llama.attention.value_length", 33);
       },
       "head dimension 33 is out of range"},
      {"ValuesOfAnotherLength",
       [](TinyLlama& m) { m.keys.set_u32("llama.attention.value_length", 64); },
       "keys and values of different length", ErrorCode::kUnsupported},
      {"RotationBeyondTheHead",
       [](TinyLlama& m) { m.keys.set_u32("llama.rope.dimension_count", 64); },
       "llama.rope.dimension_count = 64 does not fit a head of 32"},
      {"HalfRotation", [](TinyLlama& m) { m.keys.set_u32("llama.rope.dimension_count", 16); },
       "llama rotates whole heads, but llama.rope.dimension_count says otherwise"},
      {"Experts", [](TinyLlama& m) { m.keys.set_u32("llama.expert_count", 8); },
       "a mixture of experts", ErrorCode::kUnsupported},
      {"NoEpsilon", [](TinyLlama& m) { m.keys.remove("llama.attention.layer_norm_rms_epsilon"); },
       "missing key llama.attention.layer_norm_rms_epsilon"},
      {"EpsilonIsNoNumber",
       [](TinyLlama& m) { m.keys.set_f32("llama.attention.layer_norm_rms_epsilon", kNan); },
       "key 'llama.attention.layer_norm_rms_epsilon' is not a finite number"},
      {"EpsilonIsNegative",
       [](TinyLlama& m) { m.keys.set_f32("llama.attention.layer_norm_rms_epsilon", -1.0F); },
       "the norm's epsilon is out of range"},
      {"UnknownRopeScaling",
       [](TinyLlama& m) { m.keys.set_str("llama.rope.scaling.type", "longrope\n"); },
       "llama.rope.scaling.type 'longrope?' (known: none, linear, yarn)", ErrorCode::kUnsupported},
      {"NegativeRopeFactor",
       [](TinyLlama& m) { m.keys.set_f32("llama.rope.scaling.factor", -2.0F); },
       "RoPE base or scaling factor is out of range"},
      {"RopeBaseIsNoNumber", [](TinyLlama& m) { m.keys.set_f32("llama.rope.freq_base", kNan); },
       "key 'llama.rope.freq_base' is not a finite number"},
      {"TokensMissing", [](TinyLlama& m) { m.keys.remove("tokenizer.ggml.tokens"); },
       "key 'tokenizer.ggml.tokens' is missing"},
      {"AnotherVocabulary", [](TinyLlama& m) { tiny_vocabulary(m.keys, 40); },
       "tensor token_embd.weight [64, 48] f32 does not match the vocabulary of 40 tokens"},
      {"EndOutsideTheVocabulary",
       [](TinyLlama& m) { m.keys.set_u32("tokenizer.ggml.eos_token_id", 48); },
       "key 'tokenizer.ggml.eos_token_id' is 48, outside the vocabulary of 48 tokens"},
      {"OnePartOfTwo", [](TinyLlama& m) { m.keys.set_u32("split.count", 2); },
       "one of 2 parts of a model: join them into one file first", ErrorCode::kUnsupported},
  };
  return table;
}

const std::vector<BrokenModel>& tensor_cases() {
  static const std::vector<BrokenModel> table = {
      {"NoTensors", [](TinyLlama& m) { m.tensors.clear(); }, "missing tensor token_embd.weight"},
      {"NoEmbedding", [](TinyLlama& m) { m.remove("token_embd.weight"); },
       "missing tensor token_embd.weight"},
      {"NoOutput", [](TinyLlama& m) { m.remove("output.weight"); }, ""},  // tied
      {"NoFinalNorm", [](TinyLlama& m) { m.remove("output_norm.weight"); },
       "missing tensor output_norm.weight"},
      {"NoLastMatrix", [](TinyLlama& m) { m.remove("blk.1.ffn_down.weight"); },
       "missing tensor blk.1.ffn_down.weight"},
      {"FusedAttention",
       [](TinyLlama& m) { m.tensor("blk.0.attn_q.weight").name = "blk.0.attn_qkv.weight"; },
       "fused tensor blk.0.attn_qkv.weight", ErrorCode::kUnsupported},
      {"KeysOfAnotherShape", [](TinyLlama& m) { m.reshape("blk.0.attn_k.weight", {64, 64}); },
       "tensor blk.0.attn_k.weight [64, 64] f32 should be [64, 32]"},
      {"TransposedMatrix", [](TinyLlama& m) { m.reshape("blk.1.ffn_down.weight", {64, 96}); },
       "tensor blk.1.ffn_down.weight [64, 96] f32 should be [96, 64]"},
      {"ThirdDimension", [](TinyLlama& m) { m.reshape("blk.0.ffn_up.weight", {64, 96, 2}); },
       "tensor blk.0.ffn_up.weight [64, 96, 2] f32 should be [64, 96]"},
      {"OutputOfAnotherVocabulary", [](TinyLlama& m) { m.reshape("output.weight", {64, 47}); },
       "tensor output.weight [64, 47] f32 should be [64, 48]"},
      {"ShortNorm", [](TinyLlama& m) { m.reshape("blk.1.attn_norm.weight", {63}); },
       "tensor blk.1.attn_norm.weight [63] f32 should be [64, 1]"},
      {"NormIsAMatrix", [](TinyLlama& m) { m.reshape("output_norm.weight", {32, 2}); },
       "tensor output_norm.weight [32, 2] f32 should have 64 elements"},
      {"QuantisedNorm", [](TinyLlama& m) { m.tensor("output_norm.weight").type = GGML_TYPE_Q8_0; },
       ""},  // unusual, but it is read
      {"NormIsNoNumber", [](TinyLlama& m) { m.tensor("output_norm.weight").data[5] = kNan; },
       "tensor output_norm.weight is not finite"},
      {"NormIsInfinite",
       [](TinyLlama& m) {
         m.tensor("blk.0.ffn_norm.weight").data[0] = std::numeric_limits<float>::infinity();
       },
       "tensor blk.0.ffn_norm.weight is not finite"},
      {"BiasOfAnotherLength",
       [](TinyLlama& m) {
         m.tensors.push_back({"blk.0.attn_q.bias", {63}, GGML_TYPE_F32, std::vector<float>(63)});
       },
       "tensor blk.0.attn_q.bias [63] f32 should be [64] f32"},
      {"BiasInHalfPrecision",
       [](TinyLlama& m) {
         m.tensors.push_back({"blk.0.attn_q.bias", {64}, GGML_TYPE_F16, std::vector<float>(64)});
       },
       "tensor blk.0.attn_q.bias [64] f16 should be [64] f32"},
      {"BiasIsNoNumber",
       [](TinyLlama& m) {
         m.tensors.push_back(
             {"blk.0.attn_q.bias", {64}, GGML_TYPE_F32, std::vector<float>(64, kNan)});
       },
       "tensor blk.0.attn_q.bias is not finite"},
      {"RopeFactorsNotPositive",
       [](TinyLlama& m) {
         m.tensors.push_back({"rope_freqs.weight", {16}, GGML_TYPE_F32, std::vector<float>(16)});
       },
       "rope_freqs.weight is not positive"},
      {"TooFewRopeFactors",
       [](TinyLlama& m) {
         m.tensors.push_back(
             {"rope_freqs.weight", {8}, GGML_TYPE_F32, std::vector<float>(8, 1.0F)});
       },
       "tensor rope_freqs.weight [8] f32 should be [16, 1]"},
  };
  return table;
}

// Matrices are not looked through at the start; what they make of a prompt is.
TEST(DamagedWeights, AreSaidInsteadOfAnAnswer) {
  TinyLlama model = tiny_llama();
  model.tensor("blk.0.ffn_down.weight").data[0] = kNan;
  const std::string path = process_file("damaged.gguf");
  ASSERT_TRUE(std::move(model).file().write(path).ok());
  EngineOptions options;
  options.model_path = path;
  options.n_threads = 1;
  const auto engine = Engine::load(options);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  const std::vector<Token> tokens = {3, 4, 5};
  KvOptions full;
  full.policy = "full";
  std::vector<float> logits;
  const auto failed = (*engine)->prefill(tokens, {&full, 1}, {}, logits);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(failed.error().message.find("NaN"), std::string::npos) << failed.error().message;
  EXPECT_TRUE(logits.empty());
}

class BrokenModelTest : public ::testing::TestWithParam<BrokenModel> {};
const auto name_of = [](const auto& one) { return std::string(one.param.name); };
INSTANTIATE_TEST_SUITE_P(Keys, BrokenModelTest, ::testing::ValuesIn(key_cases()), name_of);
INSTANTIATE_TEST_SUITE_P(Tensors, BrokenModelTest, ::testing::ValuesIn(tensor_cases()), name_of);

TEST_P(BrokenModelTest, IsRefusedInOneLine) {
  TinyLlama model = tiny_llama();
  GetParam().change(model);
  const std::string path =
      ::testing::TempDir() + "restkv_broken_" + std::to_string(::getpid()) + ".gguf";
  ASSERT_TRUE(std::move(model).file().write(path).ok());
  EngineOptions options;
  options.model_path = path;
  options.n_threads = 1;
  const auto engine = Engine::load(options);
  std::filesystem::remove(path);
  if (*GetParam().error == '\0') {
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    return;
  }
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().message, path + ": " + GetParam().error);
  EXPECT_EQ(engine.error().code, GetParam().code) << error_code_name(engine.error().code);
}

}  // namespace
}  // namespace restkv
