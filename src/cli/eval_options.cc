#include "cli/eval_options.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/names.h"
#include "cli/build_commit.h"
#include "cli/commands.h"
#include "cli/number_lists.h"
#include "cli/pull.h"
#include "cli/transfer.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::string_view kDefaultPolicies = "full,rest-kv";
constexpr std::string_view kDefaultBudgets = "128,512";
constexpr std::string_view kDefaultAllocators = "uniform";

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

Result<std::vector<std::size_t>> parse_lengths(std::string_view text) {
  RESTKV_ASSIGN(const std::vector<long long> numbers,
                parse_number_list("--lengths", text, 1, 1 << 30));
  std::vector<std::size_t> lengths;
  for (const long long number : numbers) {
    const auto length = static_cast<std::size_t>(number);
    if (std::ranges::find(lengths, length) != lengths.end()) {
      return wrong("--lengths has " + std::to_string(length) + " twice");
    }
    lengths.push_back(length);
  }
  return lengths;
}

void add_material_flag(FlagSet& flags, Material& material) {
  flags.add({.names = {"--material"},
             .value_name = "NAME",
             .help = "texts of made tasks: auto (the benchmark's own files where they are), own, "
                     "or published (a missing file is an error) (auto)",
             .environment = "",
             .set = [&material](std::string_view name) -> Result<void> {
               if (name == "auto") {
                 material = Material::kAuto;
               } else if (name == "own") {
                 material = Material::kOwn;
               } else if (name == "published") {
                 material = Material::kPublished;
               } else {
                 return wrong("unknown material '" + std::string(name) +
                              "' (known: auto, own, published)");
               }
               return {};
             }});
}

bool lists_given(const EvalOptions& options) {
  bool given = !options.policies.empty() || !options.budgets.empty() || !options.allocators.empty();
  for (const std::string& list : options.dimensions) given |= !list.empty();
  return given || !options.common.kv_options.empty();
}

// Whether a list that changes nothing is a mistake. A full cache is one variant whatever the
// schedule and the mode.
bool must_matter(const VariantDimension& dimension) {
  return dimension.value == &EvalVariant::decode_budget ||
         dimension.value == &EvalVariant::decode_table;
}

// Each variant with each value of the list; once where the value does not matter.
Result<std::vector<EvalVariant>> multiply(const std::vector<EvalVariant>& variants,
                                          const VariantDimension& dimension,
                                          std::string_view list) {
  std::vector<EvalVariant> product;
  const auto matters_to = [&](const EvalVariant& v) { return dimension_matters(v, dimension); };
  if (must_matter(dimension) && std::ranges::none_of(variants, matters_to)) {
    return wrong(std::string(dimension.flag) + " " + std::string(list) +
                 ": none of the variants has a --decode-attns that takes one");
  }
  for (const EvalVariant& variant : variants) {
    const bool matters = matters_to(variant);
    if (!matters) product.push_back(variant);
    for (const std::string& value : split_list(list)) {
      EvalVariant one = variant;
      RESTKV_TRY(set_dimension(one, dimension, value));
      if (matters) product.push_back(std::move(one));
    }
  }
  return product;
}

// What of the options changes the answers, apart from the variants and the samples.
std::string settings_text(const EvalOptions& options) {
  const EngineOptions& engine = options.common.engine;
  constexpr const char* kProducts[] = {"auto", "quantised", "f32"};
  const auto number = [](const auto& value) -> nlohmann::ordered_json {
    if (!value) return nullptr;
    return *value;
  };
  const RopeOverrides& rope = engine.rope;
  nlohmann::ordered_json json = {
      {"products", kProducts[static_cast<std::size_t>(engine.products)]},
      {"template", options.form != PromptForm::kByTask ? "none"
                   : options.chat_template.empty()     ? "model"
                                                       : options.chat_template},
      {"rope_scaling", rope.scaling ? static_cast<int>(*rope.scaling) : -1},
      {"rope_freq_base", number(rope.freq_base)},
      {"rope_freq_scale", number(rope.freq_scale)},
      {"yarn",
       {number(rope.yarn_ext_factor), number(rope.yarn_attn_factor), number(rope.yarn_beta_fast),
        number(rope.yarn_beta_slow), number(rope.yarn_original_context)}}};
  // Only where it is not the usual one: results of before it counted stay what they are.
  if (engine.hidden_type != KvType::kF32) json["hidden_type"] = kv_type_name(engine.hidden_type);
  if (engine.order != WeightOrder::kPack) json["repack"] = false;
  if (!engine.kernels.empty()) json["kernels"] = engine.kernels;
  return json.dump();
}

}  // namespace

void add_variant_flags(FlagSet& flags, EvalOptions& options) {
  add_kv_flags(flags, options.common);
  for (const char* name :
       {"--kv-policy", "--kv-budget", "--kv-alloc", "--kv-schedule", "--kv-granularity",
        "--prefill", "--decode-attn", "--decode-budget", "--decode-table"}) {
    flags.remove(name);
  }
  flags.begin_section("variants");
  flags.add_text({"--policies", "--kv-policy"}, "NAME[:OPT=V],...",
                 "what a token is worth: " + listed(all_policies(), &PolicyInfo::name) + " (" +
                     std::string(kDefaultPolicies) + ")",
                 &options.policies);
  flags.add_text({"--budgets", "--kv-budget"}, "N|P%,...",
                 "tokens to keep per KV head and layer, or percent of the prompt (" +
                     std::string(kDefaultBudgets) + ")",
                 &options.budgets);
  flags.add_text({"--allocs", "--kv-alloc"}, "NAME[:OPT=V],...",
                 "how the budget is divided: " + listed(all_allocators(), &AllocatorInfo::name) +
                     " (" + std::string(kDefaultAllocators) + ")",
                 &options.allocators);
  for (std::size_t d = 0; d < kVariantDimensions; ++d) {
    const VariantDimension& dimension = variant_dimensions()[d];
    std::vector<std::string_view> names = {dimension.flag};
    if (!dimension.alias.empty()) names.push_back(dimension.alias);
    flags.add_text(std::move(names), std::string_view(dimension.form),
                   std::string(dimension.summary) + ": " +
                       listed(dimension.known, std::identity()) + std::string(dimension.others) +
                       " (" + std::string(dimension.known.front()) + ")",
                   &options.dimensions[d]);
  }
  flags.add_text({"--variants"}, "FILE.json",
                 "an array of objects with policy, budget, allocator, window, ... instead of the "
                 "product of the lists",
                 &options.variants_file);
}

void add_sample_flags(FlagSet& flags, EvalOptions& options) {
  flags.begin_section("samples");
  flags.add({.names = {"--lengths"},
             .value_name = "N,...",
             .help = "tokens of a prompt and its answer, or a range like 1024-8192*2; made tasks "
                     "fill them, others are cut to them",
             .environment = "",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.lengths, parse_lengths(text));
               return {};
             }});
  flags.add_integer({"--samples"}, "samples of each task and length (default: as the task has)", 1,
                    1 << 30,
                    [&options](long long v) { options.samples = static_cast<std::size_t>(v); });
  flags.add_integer({"-s", "--seed"}, "seed of the samples and of policies that draw (42)", 0,
                    0x7FFFFFFF, [&options](long long v) {
                      options.seed = static_cast<std::uint64_t>(v);
                      options.common.kv.seed = static_cast<std::uint64_t>(v);
                    });
  flags.add_text({"--data"}, "DIR", "folder with the benchmarks' files", &options.data_dir,
                 "RESTKV_ARG_DATA");
  add_material_flag(flags, options.material);
  flags.add(raw_flag("no chat template, whatever a task wants",
                     [&options] { options.form = PromptForm::kPlain; }));
  flags.add(chat_template_flag(&options.chat_template));
  flags.add_switch({"--no-prefix-reuse"},
                   "read every prompt from its start, also where it begins as the one before (the "
                   "same results, later)",
                   [&options] { options.prefixes = PrefixReuse::kOff; });
  flags.begin_section("results");
  flags.add_text({"--db"}, "FILE", "SQLite file, made or gone on with (restkv-eval.db)",
                 &options.database);
  flags.add_integer(
      {"--marks"},
      "samples of each task and length whose text is stored with the kept tokens, as their rows "
      "are made (1)",
      0, 1 << 20,
      [&options](long long v) { options.marked_samples = static_cast<std::size_t>(v); });
}

Result<void> check_eval_options(const EvalOptions& options) {
  if (options.database == ":memory:") {
    return wrong("--db :memory: would be gone with the program; name a file");
  }
  if (options.form == PromptForm::kPlain && !options.chat_template.empty()) {
    return wrong("--raw and --chat-template exclude each other");
  }
  return {};
}

Result<std::vector<EvalVariant>> eval_variants(const EvalOptions& options) {
  if (!options.variants_file.empty()) {
    if (lists_given(options)) {
      return wrong(
          "--variants is a list instead of --policies, --budgets, --allocs, --kv-opt and the like");
    }
    EvalVariant defaults;
    defaults.kv = options.common.kv;
    defaults.sample_seed = options.seed;
    return read_variants(options.variants_file, defaults);
  }
  const auto given_or = [](const std::string& list, std::string_view otherwise) {
    return list.empty() ? std::string(otherwise) : list;
  };
  CommonOptions common = options.common;
  common.policies = given_or(options.policies, kDefaultPolicies);
  common.budgets = given_or(options.budgets, kDefaultBudgets);
  common.allocators = given_or(options.allocators, kDefaultAllocators);
  RESTKV_ASSIGN(const std::vector<KvOptions> expanded, expand_variants(common));
  std::vector<EvalVariant> variants;
  for (const KvOptions& kv : expanded) {
    EvalVariant& variant = variants.emplace_back();
    variant.kv = kv;
    variant.sample_seed = options.seed;
  }
  for (std::size_t d = 0; d < kVariantDimensions; ++d) {
    if (options.dimensions[d].empty()) continue;
    RESTKV_ASSIGN(variants, multiply(variants, variant_dimensions()[d], options.dimensions[d]));
  }
  for (std::size_t i = 0; i < variants.size(); ++i) {
    RESTKV_TRY(check_variant(variants[i]));
    for (std::size_t j = 0; j < i; ++j) {
      if (variant_json(variants[i]) != variant_json(variants[j])) continue;
      return wrong("the variant '" + variant_label(variants[i]) + "' is asked for twice");
    }
  }
  return variants;
}

std::vector<std::string> take_names(std::span<const std::string_view>& args) {
  std::vector<std::string> names;
  while (!args.empty() && !args.front().starts_with('-')) {
    names.emplace_back(args.front());
    args = args.subspan(1);
  }
  return names;
}

Result<EvalSession> open_evaluation(EvalOptions options, const std::atomic<bool>& cancel) {
  EvalSettings settings;
  const auto progress = make_progress(stderr);
  PullOptions pull;
  pull.progress = progress.get();
  pull.cancel = &cancel;
  const std::string_view wanted =
      options.common.model.empty() ? kDefaultModel : std::string_view(options.common.model);
  RESTKV_ASSIGN(const std::string path, resolve_model(wanted, pull));
  options.common.model = path;
  RESTKV_ASSIGN(Session session, Session::open(options.common, cancel));
  settings.model = std::filesystem::path(path).filename().string();
  RESTKV_ASSIGN(settings.fingerprint,
                sha256_of_file(path, TransferWatch{.progress = nullptr, .cancel = &cancel}));
  settings.version = std::string(kVersion) + " " + build_commit();
  settings.settings = settings_text(options);
  settings.form = options.form;
  settings.prefixes = options.prefixes;
  settings.chat_template = options.chat_template;
  settings.request.data_dir = options.data_dir;
  settings.request.material = options.material;
  settings.request.seed = options.seed;
  settings.request.samples = options.samples;
  settings.request.lengths = options.lengths;
  settings.context = session.context;
  settings.marked_samples = options.marked_samples;
  return EvalSession{.session = std::move(session), .settings = std::move(settings)};
}

void use_form(EvalSession& opened, EvalOptions options, PromptForm form) {
  options.form = form;
  opened.settings.form = form;
  opened.settings.settings = settings_text(options);
}

Result<EvalOutcome> evaluate(EvalSession& opened, std::span<const TaskInfo* const> tasks,
                             std::span<const EvalVariant> variants, ResultStore& store,
                             const std::atomic<bool>& cancel, Ranks* ranks) {
  const auto progress = make_progress(stderr);
  bool begun = false;
  EvalWatch watch;
  watch.cancel = &cancel;
  watch.ranks = ranks;
  if (!leads(ranks)) {
    return run_evaluation({*opened.session.engine, opened.session.vocabulary}, tasks, variants,
                          opened.settings, watch, store);
  }
  watch.on_note = [&](const std::string& line) { progress->note("restkv: " + line); };
  watch.on_progress = [&](const EvalProgress& now) {
    if (!begun && now.tokens_total > 0) {
      progress->begin(
          {.label = "evaluating", .unit = ProgressUnit::kTokens, .total = now.tokens_total});
      begun = true;
    }
    progress->update(now.tokens_done);
  };
  auto outcome = run_evaluation({*opened.session.engine, opened.session.vocabulary}, tasks,
                                variants, opened.settings, watch, store);
  progress->end();
  return outcome;
}

Result<ResultStore> open_store(const std::string& path, const Ranks* ranks) {
  return ResultStore::open_or_make(leads(ranks) ? path : ":memory:");
}

}  // namespace restkv
