// The forward pass against libllama on the same file: every family, shape and weight type.

#include <ggml.h>
#include <gtest/gtest.h>

#include <functional>

#include "engine/harness.h"
#include "engine/libllama_oracle.h"

namespace restkv {
namespace {

// Longer than every sliding window, and not a multiple of a chunk or block.
constexpr std::size_t kTokens = 150;
// Of logits. What is measured: below 2e-11 with SiLU (rounding of f32, and angles that libllama
// multiplies up in f32), below 5e-7 with GELU, which ggml reads from a table in f16.
constexpr double kF32Limit = 1e-10;
constexpr double kGeluLimit = 1e-6;
// Measured: up to 2.5e-4. Activations are rounded to 8 bits, so a last bit of difference before the
// rounding is one step of it behind.
constexpr double kQuantisedLimit = 1e-3;

struct Case {
  std::string name;
  RandomModel model;
  std::function<void(GgufWriter&)> change = {};
  RopeOverrides rope = {};
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }  // NOLINT(*-naming)

double limit_of(const Case& one) {
  return one.model.family.starts_with("gemma") ? kGeluLimit : kF32Limit;
}

GgufWriter file_of(const Case& one) {
  GgufWriter file = random_model_file(one.model);
  if (one.change) one.change(file);
  return file;
}

double error_against_libllama(const Case& one, const EngineOptions& options) {
  const auto tokens = random_tokens(kTokens, one.model.n_vocab, 7);
  EngineOptions with_rope = options;
  with_rope.rope = one.rope;
  TestEngine engine(file_of(one), with_rope);
  const auto expected = libllama_logits(engine.path(), tokens, one.rope);
  if (!expected.ok()) {
    ADD_FAILURE() << expected.error().message;
    return 1;
  }
  return mean_square_error(engine.all_logits(tokens, full_cache()), *expected);
}

// ---- families and shapes, f32 weights ----------------------------------------------------------

std::vector<Case> shapes() {
  return {
      {.name = "llama2_mha", .model = {.n_kv_head = 4}},
      {.name = "llama3_gqa", .model = {.n_head = 8, .rope_factors = true}},
      {.name = "llama_mqa_head128", .model = {.n_kv_head = 1, .head_dim = 128}},
      {.name = "llama_tied", .model = {.tied = true}},
      {.name = "llama_odd_sizes",
       .model = {.n_embd = 72, .n_head = 3, .n_kv_head = 3, .head_dim = 24, .n_ff = 100}},
      {.name = "llama_all_biases", .model = {.biases = true, .other_biases = true}},
      {.name = "mistral_window_key_is_not_used", .model = {.sliding_window = 16}},
      {.name = "qwen2", .model = random_qwen2()},
      {.name = "qwen2_untied",
       .model = {.family = "qwen2", .n_embd = 256, .n_kv_head = 1, .biases = true}},
      {.name = "qwen2_output_bias",
       .model = random_qwen2(),
       .change =
           [](GgufWriter& file) {
             std::vector<float> bias(100);
             for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = float(i % 7) - 3.0F;
             file.add_tensor("output.bias", {100}, bias, GGML_TYPE_F32);
           }},
      {.name = "qwen3", .model = random_qwen3()},
      {.name = "qwen3_head128_untied", .model = {.family = "qwen3", .head_dim = 128}},
      {.name = "gemma", .model = random_gemma()},
      {.name = "gemma2", .model = random_gemma2()},
      {.name = "gemma2_of_46_layers",
       .model = {.family = "gemma2",
                 .n_layer = 46,
                 .n_embd = 64,
                 .n_ff = 64,
                 .sliding_window = 40,
                 .branch = 0.2F}},
      {.name = "gemma2_defaults",
       .model = random_gemma2(),
       .change =
           [](GgufWriter& file) {
             file.remove("gemma2.attn_logit_softcapping");
             file.remove("gemma2.final_logit_softcapping");
             file.remove("gemma2.attention.sliding_window");
           }},
      {.name = "gemma3", .model = random_gemma3()},
      {.name = "gemma3_no_window", .model = {.family = "gemma3", .n_layer = 2}},
      {.name = "gemma3_of_62_layers",
       .model = {.family = "gemma3",
                 .n_layer = 62,
                 .n_embd = 64,
                 .n_ff = 64,
                 .sliding_window = 40,
                 .branch = 0.05F}},
      {.name = "gemma3_pattern_key",
       .model = random_gemma3(),
       .change =
           [](GgufWriter& file) { file.set_u32("gemma3.attention.sliding_window_pattern", 3); }},
      {.name = "gemma3_pattern_list",
       .model = random_gemma3(),
       .change =
           [](GgufWriter& file) {
             const std::vector<std::int8_t> sliding = {0, 1, 1, 0, 1, 0, 1};
             file.set_bools("gemma3.attention.sliding_window_pattern", sliding);
           }},
      {.name = "gemma3_final_softcap",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { file.set_f32("gemma3.final_logit_softcapping", 4.0F); }},
  };
}

// ---- RoPE --------------------------------------------------------------------------------------

void linear_scaling(GgufWriter& file, const std::string& family) {
  file.set_str(family + ".rope.scaling.type", "linear");
  file.set_f32(family + ".rope.scaling.factor", 4.0F);
}

void yarn_scaling(GgufWriter& file, const std::string& family) {
  file.set_str(family + ".rope.scaling.type", "yarn");
  file.set_f32(family + ".rope.scaling.factor", 4.0F);
  file.set_u32(family + ".rope.scaling.original_context_length", 64);
}

std::vector<Case> rotations() {
  return {
      {.name = "llama_base",
       .model = random_llama(),
       .change = [](GgufWriter& file) { file.set_f32("llama.rope.freq_base", 5e5F); }},
      {.name = "llama_linear",
       .model = random_llama(),
       .change = [](GgufWriter& file) { linear_scaling(file, "llama"); }},
      {.name = "llama_old_linear_key",
       .model = random_llama(),
       .change = [](GgufWriter& file) { file.set_f32("llama.rope.scale_linear", 2.0F); }},
      {.name = "llama_scaling_switched_off",
       .model = random_llama(),
       .change =
           [](GgufWriter& file) {
             linear_scaling(file, "llama");
             file.set_str("llama.rope.scaling.type", "none");
           }},
      {.name = "llama_yarn_with_factors",
       .model = {.rope_factors = true},
       .change = [](GgufWriter& file) { yarn_scaling(file, "llama"); }},
      {.name = "qwen2_yarn",
       .model = random_qwen2(),
       .change = [](GgufWriter& file) { yarn_scaling(file, "qwen2"); }},
      {.name = "qwen2_attn_factor",
       .model = random_qwen2(),
       .change =
           [](GgufWriter& file) {
             yarn_scaling(file, "qwen2");
             file.set_f32("qwen2.rope.scaling.attn_factor", 0.8F);
           }},
      {.name = "gemma_partial_rotation",
       .model = random_gemma(),
       .change = [](GgufWriter& file) { file.set_u32("gemma.rope.dimension_count", 64); }},
      {.name = "gemma3_partial_rotation",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { file.set_u32("gemma3.rope.dimension_count", 32); }},
      {.name = "gemma2_own_window_base",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { file.set_f32("gemma2.rope.freq_base_swa", 3e3F); }},
      {.name = "gemma2_linear",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { linear_scaling(file, "gemma2"); }},
      {.name = "gemma3_linear_on_global_layers",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { linear_scaling(file, "gemma3"); }},
      {.name = "gemma3_own_window_base",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { file.set_f32("gemma3.rope.freq_base_swa", 2e3F); }},
      {.name = "gemma3_yarn",
       .model = random_gemma3(),
       .change = [](GgufWriter& file) { yarn_scaling(file, "gemma3"); }},
      {.name = "override_base_and_scale",
       .model = random_llama(),
       .rope = {.freq_base = 3e4, .freq_scale = 0.25}},
      {.name = "override_to_yarn",
       .model = random_qwen2(),
       .rope = {.scaling = RopeScaling::kYarn,
                .freq_scale = 0.25,
                .yarn_beta_fast = 16.0,
                .yarn_beta_slow = 2.0,
                .yarn_original_context = 50}},
      {.name = "override_half_of_yarn",
       .model = random_qwen2(),
       .change = [](GgufWriter& file) { yarn_scaling(file, "qwen2"); },
       .rope = {.yarn_ext_factor = 0.5, .yarn_attn_factor = 2.0}},
      {.name = "override_magnitude_alone",
       .model = random_qwen2(),
       .rope = {.yarn_attn_factor = 1.2}},
      {.name = "override_switches_yarn_off",
       .model = random_qwen2(),
       .change = [](GgufWriter& file) { yarn_scaling(file, "qwen2"); },
       .rope = {.scaling = RopeScaling::kNone}},
      {.name = "override_on_gemma2",
       .model = random_gemma2(),
       .change = [](GgufWriter& file) { linear_scaling(file, "gemma2"); },
       .rope = {.freq_base = 3e4, .freq_scale = 0.5}},
      {.name = "override_on_gemma3", .model = random_gemma3(), .rope = {.freq_base = 3e4}},
  };
}

class Libllama : public testing::TestWithParam<Case> {};

TEST_P(Libllama, AgreesWithF32Products) {
  EngineOptions options = TestEngine::default_options();
  const double error = error_against_libllama(GetParam(), options);
  RecordProperty("error", std::to_string(error * 1e15));
  EXPECT_LE(error, limit_of(GetParam()));
}

TEST_P(Libllama, AgreesWithTheChosenProducts) {
  EngineOptions options = TestEngine::default_options();
  options.products = ProductMode::kAuto;
  EXPECT_LE(error_against_libllama(GetParam(), options), limit_of(GetParam()));
}

std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Shapes, Libllama, testing::ValuesIn(shapes()), name_of);
INSTANTIATE_TEST_SUITE_P(Rotations, Libllama, testing::ValuesIn(rotations()), name_of);

// ---- weight types ------------------------------------------------------------------------------

// Rows of whole blocks of 256.
RandomModel wide(RandomModel model, int type) {
  model.n_embd = 256;
  model.n_ff = 256;
  model.n_layer = model.sliding_window > 0 ? 2 : 1;
  model.n_vocab = 40;
  model.weight_type = type;
  return model;
}

std::vector<Case> quantised() {
  std::vector<Case> cases;
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    const ggml_type_traits* traits = ggml_get_type_traits(static_cast<ggml_type>(type));
    if (!can_quantise(type) || traits->to_float == nullptr) continue;
    cases.push_back(
        {.name = std::string("llama_") + traits->type_name, .model = wide(random_llama(), type)});
  }
  using Make = RandomModel (*)();
  for (const Make make : {Make{random_qwen2}, Make{random_qwen3}, Make{random_gemma},
                          Make{random_gemma2}, Make{random_gemma3}}) {
    for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
      const RandomModel model = wide(make(), type);
      cases.push_back({.name = model.family + "_" + ggml_type_name(type), .model = model});
    }
  }
  return cases;
}

class LibllamaQuantised : public testing::TestWithParam<Case> {};

// f32 products of the weights as the file means them: libllama on a file of their f32 values.
TEST_P(LibllamaQuantised, F32ProductsAreThoseOfTheExpandedWeights) {
  Case one = GetParam();
  const auto tokens = random_tokens(kTokens, one.model.n_vocab, 7);
  TestEngine engine(one.model);
  one.model.expanded = true;
  TestEngine expanded(one.model);
  const auto expected = libllama_logits(expanded.path(), tokens);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  const double error = mean_square_error(engine.all_logits(tokens, full_cache()), *expected);
  RecordProperty("error", std::to_string(error * 1e15));
  EXPECT_LE(error, limit_of(GetParam()));
}

// The same rounding of activations as libllama's.
TEST_P(LibllamaQuantised, QuantisedProductsAreLibllamas) {
  EngineOptions options = TestEngine::default_options();
  options.products = ProductMode::kQuantised;
  const double error = error_against_libllama(GetParam(), options);
  RecordProperty("error", std::to_string(error * 1e15));
  EXPECT_LE(error, kQuantisedLimit);
}

INSTANTIATE_TEST_SUITE_P(Types, LibllamaQuantised, testing::ValuesIn(quantised()), name_of);

}  // namespace
}  // namespace restkv
