#include "cli/options.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>

#include "base/names.h"
#include "cli/number_lists.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"
#include "sparse/pattern.h"
#include "text/chat_template.h"

namespace restkv {
namespace {

constexpr long long kMaxTokens = std::numeric_limits<std::int32_t>::max();

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::function<Result<void>(std::string_view)> set_kv_type(KvType* target) {
  return [target](std::string_view name) -> Result<void> {
    RESTKV_ASSIGN(*target, parse_kv_type(name));
    return {};
  };
}

// One of the two tables' entries, with the user's list item and the general --kv-opt applied.
struct Choice {
  std::string name;
  std::vector<ParamValues::Assignment> assignments;
};

bool declares(std::span<const ParamInfo> params, std::string_view name) {
  return std::ranges::any_of(params, [&](const ParamInfo& param) { return param.name == name; });
}

// Applies a general option to an entry that has it, unless the entry's own text already set it.
// Returns whether the entry has it.
bool apply_general(std::span<const ParamInfo> params, const ParamValues::Assignment& option,
                   Choice& choice) {
  if (!declares(params, option.first)) return false;
  const bool set = std::ranges::any_of(choice.assignments,
                                       [&](const auto& own) { return own.first == option.first; });
  if (!set) choice.assignments.push_back(option);
  return true;
}

template <typename Info>
Result<std::vector<Choice>> parse_choices(std::string_view list, std::string_view kind,
                                          const Info* (*find)(std::string_view),
                                          std::span<const Info* const> table) {
  std::vector<Choice> choices;
  for (const std::string& item : split_list(list)) {
    RESTKV_ASSIGN(NamedParams named, parse_named_params(item));
    if (find(named.name) == nullptr) {
      return wrong("unknown " + std::string(kind) + " '" + named.name +
                   "' (known: " + listed(table, &Info::name) + ")");
    }
    choices.push_back({.name = named.name, .assignments = named.assignments});
  }
  return choices;
}

// Of a name that is given twice the last one counts, as of every flag.
Result<std::vector<ParamValues::Assignment>> parse_general(const std::vector<std::string>& texts) {
  std::vector<ParamValues::Assignment> general;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return wrong("--kv-opt takes name=value, not '" + text + "'");
    }
    const std::string name = text.substr(0, equals);
    std::erase_if(general, [&name](const auto& earlier) { return earlier.first == name; });
    general.emplace_back(name, text.substr(equals + 1));
  }
  return general;
}

}  // namespace

void add_kv_flags(FlagSet& flags, CommonOptions& options) {
  flags.begin_section("cache");
  flags.add_text({"--kv-policy"}, "NAME[:OPT=V]",
                 "what a token is worth, or a list: " + listed(all_policies(), &PolicyInfo::name) +
                     " (" + options.policies + ")",
                 &options.policies, "RESTKV_ARG_KV_POLICY");
  flags.add_text({"--kv-budget"}, "N|P%",
                 "tokens to keep per KV head and layer, or percent of the prompt, or a list, or a "
                 "range like 128-1024*2 (" +
                     options.budgets + ")",
                 &options.budgets, "RESTKV_ARG_KV_BUDGET");
  flags.add_text(
      {"--kv-alloc"}, "NAME[:OPT=V]",
      "how the budget is divided, or a list: " + listed(all_allocators(), &AllocatorInfo::name) +
          " (" + options.allocators + ")",
      &options.allocators, "RESTKV_ARG_KV_ALLOC");
  flags.add_integer(
      {"--kv-window"}, "observation window, tokens (32); even for rest-kv", 1, 4096,
      [&options](long long v) { options.kv.window = static_cast<int>(v); }, "RESTKV_ARG_KV_WINDOW");
  flags.add_integer(
      {"--kv-sink"}, "first tokens that are never dropped (4)", 0, 1 << 20,
      [&options](long long v) { options.kv.sinks = static_cast<int>(v); }, "RESTKV_ARG_KV_SINK");
  flags.add({.names = {"--kv-protect"},
             .value_name = "WHAT",
             .help = "rows that always stay: default (the sinks and the window) or paper (as each "
                     "publication; see restkv policies)",
             .environment = "RESTKV_ARG_KV_PROTECT",
             .set = [&options](std::string_view what) -> Result<void> {
               if (what == "default") {
                 options.kv.protect = Protect::kDefault;
               } else if (what == "paper") {
                 options.kv.protect = Protect::kPaper;
               } else {
                 return wrong("unknown protection '" + std::string(what) +
                              "' (known: default, paper)");
               }
               return {};
             }});
  flags.add({.names = {"--kv-schedule"},
             .value_name = "WHEN",
             .help = "when rows are dropped beside the end of each prompt: once (not at all), "
                     "every:N (after N generated tokens), cap (after each), chunk:N (also after "
                     "every N tokens of a prompt: an approximation) (once)",
             .environment = "RESTKV_ARG_KV_SCHEDULE",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.kv.schedule, Schedule::parse(text));
               return {};
             }});
  flags.add({.names = {"--kv-granularity"},
             .value_name = "WHAT",
             .help = "what keeps rows of its own: kv-head, or query-head (as the publications; a "
                     "budget then counts the rows of a query head) (kv-head)",
             .environment = "RESTKV_ARG_KV_GRANULARITY",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.kv.granularity, parse_granularity(text));
               return {};
             }});
  flags.add({.names = {"--kv-group"},
             .value_name = "HOW",
             .help = "what the query heads of a KV head make of a row together: mean or max of "
                     "their scores (mean)",
             .environment = "RESTKV_ARG_KV_GROUP",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.kv.group_score, parse_group_score(text));
               return {};
             }});
  flags.add(
      {.names = {"--kv-opt"},
       .value_name = "NAME=V",
       .help = "option of the chosen policies and allocators that have it, e.g. alpha=0.2; may be "
               "repeated; restkv policies lists them",
       .environment = "",
       .set = [&options](std::string_view text) -> Result<void> {
         options.kv_options.emplace_back(text);
         return {};
       }});
  flags.add({.names = {"--prefill"},
             .value_name = "NAME[:OPT=V]",
             .help = "attention of the prompt: " + listed(all_patterns(), &PatternInfo::name) +
                     " (" + options.prefill.pattern + ")",
             .environment = "RESTKV_ARG_PREFILL",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.prefill, parse_prefill_attention(text));
               return {};
             }});
  flags.add({.names = {"-ctk", "--cache-type-k"},
             .value_name = "TYPE",
             .help = "element type of the keys: f32, f16, bf16, q8_0, q4_0 (f16)",
             .environment = "LLAMA_ARG_CACHE_TYPE_K",
             .set = set_kv_type(&options.kv.type_k)});
  flags.add({.names = {"-ctv", "--cache-type-v"},
             .value_name = "TYPE",
             .help = "element type of the values (f16)",
             .environment = "LLAMA_ARG_CACHE_TYPE_V",
             .set = set_kv_type(&options.kv.type_v)});
  add_decode_flags(flags, options.decode);
}

Flag raw_flag(std::string help, std::function<void()> set) {
  Flag flag = switch_flag({"--raw"}, std::move(help), std::move(set));
  flag.silences = {{.value = "", .flag = "--chat-template"}};
  return flag;
}

Flag chat_template_flag(std::string* target) {
  return {
      .names = {"--chat-template"},
      .value_name = "NAME",
      .help = "a built-in template instead of the model's",
      .environment = "LLAMA_ARG_CHAT_TEMPLATE",
      .set = [target](std::string_view name) -> Result<void> {
        std::string known;
        for (const std::string& one : builtin_chat_templates()) {
          if (one == name) {
            *target = name;
            return {};
          }
          known += (known.empty() ? "" : ", ") + one;
        }
        return wrong("unknown chat template '" + std::string(name) + "' (known: " + known + ")");
      }};
}

void add_prompt_flags(FlagSet& flags, PromptOptions& options) {
  flags.begin_section("prompt");
  flags.add_text({"-f", "--file"}, "FNAME", "text to read before the question", &options.file);
  flags.add({.names = {"-p", "--prompt"},
             .value_name = "TEXT",
             .help = "question",
             .environment = "",
             .set = [&options](std::string_view text) -> Result<void> {
               options.prompt = text;
               options.prompts.emplace_back(text);
               return {};
             }});
  flags.add_text({"-sys", "--system-prompt"}, "TEXT", "system message (default: none)",
                 &options.system_prompt);
  flags.add(raw_flag("no chat template; special tokens in the text are read as such",
                     [&options] { options.raw = true; }));
  flags.add(chat_template_flag(&options.chat_template));
}

void add_generation_flags(FlagSet& flags, GenerationOptions& options, CommonOptions& common) {
  flags.begin_section("answer");
  SamplerWishes& wishes = options.sampling;
  flags.add_integer(
      {"-n", "--predict", "--n-predict"},
      "tokens to write, 0 = only read the prompt, -1 or -2 = until the model ends or the context "
      "is "
      "full (-1)",
      -2, kMaxTokens, [&options](long long v) { options.n_predict = v; }, "LLAMA_ARG_N_PREDICT");
  flags.add_integer(
      {"-s", "--seed"},
      "random seed, of sampling and of the policy random; -1 = another one each time for sampling, "
      "and 0 for the policy (-1); the report says what was drawn with",
      -1, 4294967295LL, [&options, &common](long long v) {
        if (v < 0 || v == 4294967295LL) {
          options.seed = std::nullopt;
          common.kv.seed = 0;
          return;
        }
        options.seed = static_cast<std::uint32_t>(v);
        common.kv.seed = static_cast<std::uint64_t>(v);
      });
  flags.add_number(
      {"--temp", "--temperature"}, "temperature, 0 = greedy (as the model's file asks, or 0.8)", 0,
      1e6, [&wishes](double v) { wishes.temperature = static_cast<float>(v); },
      "LLAMA_ARG_TEMPERATURE");
  flags.add_integer(
      {"--top-k"}, "candidates, 0 = all (the file's, or 40)", 0, kMaxTokens,
      [&wishes](long long v) { wishes.top_k = static_cast<int>(v); }, "LLAMA_ARG_TOP_K");
  flags.add_number(
      {"--top-p"}, "smallest set of this probability, 1 = all (the file's, or 0.95)", 0, 1,
      [&wishes](double v) { wishes.top_p = static_cast<float>(v); }, "LLAMA_ARG_TOP_P");
  flags.add_number(
      {"--min-p"}, "least probability, relative to the best, 0 = all (the file's, or 0.05)", 0, 1,
      [&wishes](double v) { wishes.min_p = static_cast<float>(v); }, "LLAMA_ARG_MIN_P");
  flags.add_number(
      {"--repeat-penalty"}, "penalty of repeated tokens, 1 = none (the file's, or 1)", 1e-3, 1e3,
      [&wishes](double v) { wishes.repeat_penalty = static_cast<float>(v); },
      "LLAMA_ARG_REPEAT_PENALTY");
  flags.add_integer(
      {"--repeat-last-n"},
      "tokens that the penalty looks back on, of prompt and answer (the file's, or 64)", 0,
      kMaxTokens, [&wishes](long long v) { wishes.repeat_last_n = static_cast<int>(v); });
  flags.add_switch({"--ignore-eos"}, "never end by the model's own choice",
                   [&options] { options.ignore_eos = true; });
}

Result<KvType> parse_kv_type(std::string_view name) {
  const auto type = kv_type_by_name(name);
  if (type) return *type;
  return wrong("unknown cache type '" + std::string(name) +
               "' (known: " + listed(kAllKvTypes, kv_type_name) + ")");
}

Result<std::vector<KvOptions>> expand_variants(const CommonOptions& options) {
  if (options.engine.rope.scaling == RopeScaling::kNone && options.engine.rope.freq_scale) {
    return wrong("--rope-scaling none leaves nothing for --rope-scale or --rope-freq-scale to do");
  }
  RESTKV_ASSIGN(auto policies,
                parse_choices<PolicyInfo>(options.policies, "policy", find_policy, all_policies()));
  RESTKV_ASSIGN(auto allocators, parse_choices<AllocatorInfo>(options.allocators, "allocator",
                                                              find_allocator, all_allocators()));
  RESTKV_ASSIGN(const auto general, parse_general(options.kv_options));
  for (const ParamValues::Assignment& option : general) {
    bool known = false;
    for (Choice& choice : policies) {
      known |= apply_general(find_policy(choice.name)->params, option, choice);
    }
    for (Choice& choice : allocators) {
      known |= apply_general(find_allocator(choice.name)->params, option, choice);
    }
    if (!known) {
      return wrong("--kv-opt " + option.first + ": none of the chosen policies and allocators (" +
                   options.policies + "; " + options.allocators + ") has this option");
    }
  }
  RESTKV_ASSIGN(const DecodeOptions decode, parse_decode_flags(options.decode));
  RESTKV_ASSIGN(const auto budgets, parse_budget_list("--kv-budget", options.budgets));
  std::vector<KvOptions> variants;
  for (const Choice& policy : policies) {
    const bool keeps_all = find_policy(policy.name)->keeps_all;
    for (const Budget& budget : budgets) {
      for (const Choice& allocator : allocators) {
        KvOptions variant = options.kv;
        variant.policy = policy.name;
        variant.policy_options = policy.assignments;
        variant.allocator = allocator.name;
        variant.allocator_options = allocator.assignments;
        variant.budget = budget;
        variant.decode = decode;
        RESTKV_TRY(check_combination(variant, options.prefill));
        const bool first_of_policy = &allocator == allocators.data() && &budget == budgets.data();
        if (!keeps_all || first_of_policy) variants.push_back(std::move(variant));
      }
    }
  }
  return variants;
}

Result<std::string> read_text_file(const std::string& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) {
    return Error{ErrorCode::kIo, path + ": is a folder, not a file"};
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error{code, path + ": " + std::strerror(errno == 0 ? EIO : errno)};
  }
  const Error unreadable{ErrorCode::kIo, path + ": cannot be read"};
  try {
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!file.bad() && (!file.fail() || file.eof())) return text;
  } catch (const std::ios_base::failure&) {
    return unreadable;  // the library's way to say that a read failed
  }
  return unreadable;
}

Result<std::string> document_text(const PromptOptions& options) {
  std::string text;
  if (!options.file.empty()) {
    RESTKV_ASSIGN(text, read_text_file(options.file));
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    if (text.empty()) return wrong(options.file + ": there is nothing in the file");
  }
  return text;
}

std::string user_message(std::string_view document, std::string_view question) {
  std::string text(document);
  if (!text.empty() && !question.empty()) text += "\n\n";
  text += question;
  return text;
}

}  // namespace restkv
