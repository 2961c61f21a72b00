// Flags that say which model is read, and how it is computed.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/format.h"
#include "cli/llama_flags.h"
#include "cli/options.h"
#include "kernels/kernels.h"

namespace restkv {
namespace {

constexpr long long kMaxTokens = std::numeric_limits<std::int32_t>::max();

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

void add_rope_flags(FlagSet& flags, RopeOverrides& rope) {
  flags.add({.names = {"--rope-scaling"},
             .value_name = "NAME",
             .help = "none, linear or yarn (default: from the model)",
             .environment = "LLAMA_ARG_ROPE_SCALING_TYPE",
             .set = [&rope](std::string_view name) -> Result<void> {
               if (name == "none") {
                 rope.scaling = RopeScaling::kNone;
                 rope.freq_scale.reset();  // that of the environment
               } else if (name == "linear") {
                 rope.scaling = RopeScaling::kLinear;
               } else if (name == "yarn") {
                 rope.scaling = RopeScaling::kYarn;
               } else {
                 return wrong("unknown RoPE scaling '" + std::string(name) +
                              "' (known: none, linear, yarn)");
               }
               return {};
             }});
  flags.add_number(
      {"--rope-scale"}, "context expansion factor", 1e-3, 1e6,
      [&rope](double v) { rope.freq_scale = 1.0 / v; }, "LLAMA_ARG_ROPE_SCALE");
  flags.add_number(
      {"--rope-freq-base"}, "RoPE base frequency (default: from the model)", 1.0001, 1e12,
      [&rope](double v) { rope.freq_base = v; }, "LLAMA_ARG_ROPE_FREQ_BASE");
  flags.add_number(
      {"--rope-freq-scale"}, "1 / context expansion factor", 1e-6, 1e3,
      [&rope](double v) { rope.freq_scale = v; }, "LLAMA_ARG_ROPE_FREQ_SCALE");
  flags.add_integer(
      {"--yarn-orig-ctx"}, "context the model was first trained for", 0, kMaxTokens,
      [&rope](long long v) { rope.yarn_original_context = static_cast<int>(v); },
      "LLAMA_ARG_YARN_ORIG_CTX");
  flags.add_number(
      {"--yarn-ext-factor"}, "YaRN extrapolation mix, 0 = interpolation", 0, 1,
      [&rope](double v) { rope.yarn_ext_factor = v; }, "LLAMA_ARG_YARN_EXT_FACTOR");
  flags.add_number(
      {"--yarn-attn-factor"}, "YaRN attention magnitude", 1e-3, 1e3,
      [&rope](double v) { rope.yarn_attn_factor = v; }, "LLAMA_ARG_YARN_ATTN_FACTOR");
  flags.add_number(
      {"--yarn-beta-fast"}, "YaRN high correction turns", 1e-3, 1e6,
      [&rope](double v) { rope.yarn_beta_fast = v; }, "LLAMA_ARG_YARN_BETA_FAST");
  flags.add_number(
      {"--yarn-beta-slow"}, "YaRN low correction turns", 1e-3, 1e6,
      [&rope](double v) { rope.yarn_beta_slow = v; }, "LLAMA_ARG_YARN_BETA_SLOW");
}

}  // namespace

void add_model_flags(FlagSet& flags, CommonOptions& options) {
  flags.begin_section("model");
  flags.add({.names = {"-m", "--model"},
             .value_name = "FNAME",
             .help = "GGUF file or catalogue name (default: " + std::string(kDefaultModel) + ")",
             .environment = "LLAMA_ARG_MODEL",
             .set = [&options](std::string_view name) -> Result<void> {
               if (name.empty()) return wrong("--model needs the name of a file or of a model");
               options.model = name;
               return {};
             }});
  flags.add_integer(
      {"-t", "--threads"}, "threads (default: one for each processor)", -1, 1024,
      [&options](long long v) { options.engine.n_threads = static_cast<int>(v); },
      "LLAMA_ARG_THREADS");
  flags.add_integer(
      {"-c", "--ctx-size"},
      "longest context, 0 = what the model was trained for (" + std::to_string(options.context) +
          ")",
      0, kMaxTokens, [&options](long long v) { options.context = v; }, "LLAMA_ARG_CTX_SIZE");
  const auto take_batch = [&options](std::size_t CommonOptions::* typed) {
    return [&options, typed](long long v) {
      options.*typed = static_cast<std::size_t>(v);
      const auto [less, more] = std::minmax(options.batch, options.micro_batch);
      options.engine.chunk = less > 0 ? less : more;
    };
  };
  flags.add_integer({"-b", "--batch-size"}, "prompt tokens that pass a layer at a time (512)", 1,
                    1 << 20, take_batch(&CommonOptions::batch), "LLAMA_ARG_BATCH");
  flags.add_integer({"-ub", "--ubatch-size"}, "the same; of -b and -ub the smaller one counts", 1,
                    1 << 20, take_batch(&CommonOptions::micro_batch), "LLAMA_ARG_UBATCH");
  flags.add_switch(
      {"--no-mmap"},
      "read the model into memory instead of mapping it; beside repacked weights it is held twice",
      [&options] { options.engine.weights = WeightAccess::kRead; });
  flags.add_switch({"-nr", "--no-repack"},
                   "multiply the weights where they are: a quicker start, slower afterwards",
                   [&options] { options.engine.order = WeightOrder::kKeep; });
  flags.add({.names = {"--products"},
             .value_name = "NAME",
             .help = "matrix products: auto, quantised or f32 (auto)",
             .environment = "RESTKV_ARG_PRODUCTS",
             .set = [&options](std::string_view name) -> Result<void> {
               if (name == "auto") {
                 options.engine.products = ProductMode::kAuto;
               } else if (name == "quantised") {
                 options.engine.products = ProductMode::kQuantised;
               } else if (name == "f32") {
                 options.engine.products = ProductMode::kF32;
               } else {
                 return wrong("unknown products '" + std::string(name) +
                              "' (known: auto, quantised, f32)");
               }
               return {};
             }});
  flags.add({.names = {"--hidden-type"},
             .value_name = "TYPE",
             .help = "what a prompt carries from layer to layer: f32, or bf16 for half the memory "
                     "(f32)",
             .environment = "RESTKV_ARG_HIDDEN_TYPE",
             .set = [&options](std::string_view name) -> Result<void> {
               if (name != "f32" && name != "bf16") {
                 return wrong("unknown type of hidden states '" + std::string(name) +
                              "' (known: f32, bf16)");
               }
               options.engine.hidden_type = name == "f32" ? KvType::kF32 : KvType::kBf16;
               return {};
             }});
  flags.add({.names = {"--kernels"},
             .value_name = "NAME",
             .help = "force a set of kernels (default: the best here)",
             .environment = "",
             .set = [&options](std::string_view name) -> Result<void> {
               if (name.empty()) return wrong("--kernels needs a name");
               RESTKV_ASSIGN([[maybe_unused]] const auto known, table_by_name(name));
               options.engine.kernels = name;
               return {};
             }});
  add_rope_flags(flags, options.engine.rope);
  add_llama_flags(flags);
  flags.add_switch({"-h", "--help"}, "this text", [&options] { options.show_help = true; });
}

std::string result_flags_text(const CommonOptions& options) {
  const EngineOptions& engine = options.engine;
  const RopeOverrides& rope = engine.rope;
  std::string text;
  const auto add = [&text](const char* flag, const std::string& value) {
    text += std::string(" ") + flag + " " + value;
  };
  const auto add_number = [&add](const char* flag, const auto& value) {
    if (value) add(flag, format("%.17g", static_cast<double>(*value)));
  };
  if (options.context != CommonOptions{}.context) add("-c", std::to_string(options.context));
  if (engine.order == WeightOrder::kKeep) text += " --no-repack";
  if (engine.products == ProductMode::kQuantised) add("--products", "quantised");
  if (engine.products == ProductMode::kF32) add("--products", "f32");
  if (engine.hidden_type == KvType::kBf16) add("--hidden-type", "bf16");
  if (!engine.kernels.empty()) add("--kernels", engine.kernels);
  if (rope.scaling) {
    add("--rope-scaling", *rope.scaling == RopeScaling::kNone     ? "none"
                          : *rope.scaling == RopeScaling::kLinear ? "linear"
                                                                  : "yarn");
  }
  add_number("--rope-freq-base", rope.freq_base);
  add_number("--rope-freq-scale", rope.freq_scale);
  add_number("--yarn-orig-ctx", rope.yarn_original_context);
  add_number("--yarn-ext-factor", rope.yarn_ext_factor);
  add_number("--yarn-attn-factor", rope.yarn_attn_factor);
  add_number("--yarn-beta-fast", rope.yarn_beta_fast);
  add_number("--yarn-beta-slow", rope.yarn_beta_slow);
  return text;
}

}  // namespace restkv
