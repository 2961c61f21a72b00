// Flags that say which model is read, and how it is computed.

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "cli/llama_flags.h"
#include "cli/options.h"
#include "kernels/kernels.h"

namespace restkv {
namespace {

constexpr long long kMaxTokens = std::numeric_limits<std::int32_t>::max();

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

constexpr std::pair<std::string_view, RopeScaling> kRopeScalings[] = {
    {"none", RopeScaling::kNone}, {"linear", RopeScaling::kLinear}, {"yarn", RopeScaling::kYarn}};

// Flags whose value is a number of RopeOverrides.
struct RopeNumber {
  const char* flag;
  const char* help;
  double least;
  double most;
  std::optional<double> RopeOverrides::* target;
  const char* environment;
};
constexpr RopeNumber kRopeNumbers[] = {
    {"--rope-freq-base", "RoPE base frequency (default: from the model)", 1.0001, 1e12,
     &RopeOverrides::freq_base, "LLAMA_ARG_ROPE_FREQ_BASE"},
    {"--rope-freq-scale", "1 / context expansion factor", 1e-6, 1e3, &RopeOverrides::freq_scale,
     "LLAMA_ARG_ROPE_FREQ_SCALE"},
};
constexpr RopeNumber kYarnNumbers[] = {
    {"--yarn-ext-factor", "YaRN extrapolation mix, 0 = interpolation", 0, 1,
     &RopeOverrides::yarn_ext_factor, "LLAMA_ARG_YARN_EXT_FACTOR"},
    {"--yarn-attn-factor", "YaRN attention magnitude", 1e-3, 1e3, &RopeOverrides::yarn_attn_factor,
     "LLAMA_ARG_YARN_ATTN_FACTOR"},
    {"--yarn-beta-fast", "YaRN high correction turns", 1e-3, 1e6, &RopeOverrides::yarn_beta_fast,
     "LLAMA_ARG_YARN_BETA_FAST"},
    {"--yarn-beta-slow", "YaRN low correction turns", 1e-3, 1e6, &RopeOverrides::yarn_beta_slow,
     "LLAMA_ARG_YARN_BETA_SLOW"},
};

void add_rope_numbers(FlagSet& flags, std::span<const RopeNumber> numbers, RopeOverrides& rope) {
  for (const RopeNumber& number : numbers) {
    flags.add_number(
        {number.flag}, number.help, number.least, number.most,
        [&rope, target = number.target](double v) { rope.*target = v; }, number.environment);
  }
}

void add_rope_flags(FlagSet& flags, RopeOverrides& rope) {
  flags.add({.names = {"--rope-scaling"},
             .value_name = "NAME",
             .help = "none, linear or yarn (default: from the model)",
             .environment = "LLAMA_ARG_ROPE_SCALING_TYPE",
             .set = [&rope](std::string_view name) -> Result<void> {
               for (const auto& [known, scaling] : kRopeScalings) {
                 if (known != name) continue;
                 rope.scaling = scaling;
                 return {};
               }
               return wrong("unknown RoPE scaling '" + std::string(name) +
                            "' (known: none, linear, yarn)");
             },
             .silences = {{.value = "none", .flag = "--rope-scale"},
                          {.value = "none", .flag = "--rope-freq-scale"}}});
  flags.add_number(
      {"--rope-scale"}, "context expansion factor", 1e-3, 1e6,
      [&rope](double v) { rope.freq_scale = 1.0 / v; }, "LLAMA_ARG_ROPE_SCALE");
  add_rope_numbers(flags, kRopeNumbers, rope);
  flags.add_integer(
      {"--yarn-orig-ctx"}, "context the model was first trained for", 0, kMaxTokens,
      [&rope](long long v) { rope.yarn_original_context = static_cast<int>(v); },
      "LLAMA_ARG_YARN_ORIG_CTX");
  add_rope_numbers(flags, kYarnNumbers, rope);
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
  flags.add_switch_pair(
      {.names = {"--repack"},
       .help = "pack the weights for the fast products as they are read (the usual)"},
      {.names = {"-nr", "--no-repack"},
       .help = "multiply the weights where they are: a quicker start, slower afterwards"},
      [&options](bool packs) {
        options.engine.order = packs ? WeightOrder::kPack : WeightOrder::kKeep;
      },
      "LLAMA_ARG_REPACK");
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
  const auto add_numbers = [&](std::span<const RopeNumber> numbers) {
    for (const RopeNumber& number : numbers) {
      const auto& value = rope.*number.target;
      if (value) add(number.flag, format("%.17g", *value));
    }
  };
  if (options.context != CommonOptions{}.context) add("-c", std::to_string(options.context));
  if (engine.order == WeightOrder::kKeep) text += " --no-repack";
  if (engine.products == ProductMode::kQuantised) add("--products", "quantised");
  if (engine.products == ProductMode::kF32) add("--products", "f32");
  if (engine.hidden_type == KvType::kBf16) add("--hidden-type", "bf16");
  if (!engine.kernels.empty()) add("--kernels", engine.kernels);
  for (const auto& [name, scaling] : kRopeScalings) {
    if (rope.scaling == scaling) add("--rope-scaling", std::string(name));
  }
  add_numbers(kRopeNumbers);
  if (rope.yarn_original_context) {
    add("--yarn-orig-ctx", std::to_string(*rope.yarn_original_context));
  }
  add_numbers(kYarnNumbers);
  return text;
}

}  // namespace restkv
