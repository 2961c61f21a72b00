#include "cli/bench_options.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/names.h"
#include "base/quote.h"
#include "base/threads.h"
#include "cli/number_lists.h"
#include "sparse/pattern.h"

namespace restkv {
namespace {

constexpr long long kMostTokens = 1 << 24;
constexpr long long kMostThreads = 1024;
constexpr long long kMostBatch = 1 << 20;
constexpr long long kDefaultBatch = 512;

Error wrong(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// A list that goes on when the flag is given again.
Flag list_flag(std::vector<std::string_view> names, std::string help, long long least,
               long long most, std::vector<long long>* target, std::string_view environment = {}) {
  const std::string_view name = names.back();
  return {.names = std::move(names),
          .value_name = "N,...",
          .help = std::move(help),
          .environment = environment,
          .set = [=](std::string_view text) -> Result<void> {
            RESTKV_ASSIGN(const auto numbers, parse_number_list(name, text, least, most));
            target->insert(target->end(), numbers.begin(), numbers.end());
            return {};
          }};
}

// -1 is every other command's word for the usual number, and may stand in the environment.
Flag threads_flag(std::vector<long long>* target) {
  Flag flag = list_flag({"-t", "--threads"}, "threads (one for each processor)", 1, kMostThreads,
                        target, "LLAMA_ARG_THREADS");
  flag.set = [set = std::move(flag.set)](std::string_view text) -> Result<void> {
    if (text == "-1") return {};
    return set(text);
  };
  return flag;
}

Flag type_flag(std::vector<std::string_view> names, std::string help, std::vector<KvType>* target,
               std::string_view environment) {
  return {.names = std::move(names),
          .value_name = "TYPE,...",
          .help = std::move(help),
          .environment = environment,
          .set = [target](std::string_view text) -> Result<void> {
            for (const std::string& name : split_list(text)) {
              RESTKV_ASSIGN(const KvType type, parse_kv_type(name));
              target->push_back(type);
            }
            return {};
          }};
}

// A file whose own name has commas is one.
Flag models_flag(std::vector<std::string>* target) {
  return {.names = {"-m", "--model"},
          .value_name = "FNAME,...",
          .help = "GGUF files or catalogue names (default: " + std::string(kDefaultModel) + ")",
          .environment = "LLAMA_ARG_MODEL",
          .set = [target](std::string_view text) -> Result<void> {
            std::error_code unknown;
            const bool is_file = std::filesystem::exists(text, unknown);
            const auto names =
                is_file ? std::vector<std::string>{std::string(text)} : split_list(text);
            if (std::ranges::find(names, "") != names.end()) {
              return wrong("--model needs the name of a file or of a model");
            }
            target->insert(target->end(), names.begin(), names.end());
            return {};
          }};
}

Flag prefill_flag(std::vector<PrefillAttention>* target) {
  return {.names = {"--prefill"},
          .value_name = "NAME[:OPT=V]",
          .help = "attention of the prompt, or a list: " +
                  listed(all_patterns(), &PatternInfo::name) + " (dense)",
          .environment = "RESTKV_ARG_PREFILL",
          .set = [target](std::string_view text) -> Result<void> {
            for (const std::string& one : split_list(text)) {
              RESTKV_ASSIGN(PrefillAttention attention, parse_prefill_attention(one));
              target->push_back(std::move(attention));
            }
            return {};
          }};
}

void add_test_flags(FlagSet& flags, BenchOptions& options) {
  flags.add(list_flag({"-p", "--n-prompt"}, "prompt tokens, 0 = none (512)", 0, kMostTokens,
                      &options.prompts));
  flags.add(list_flag({"-n", "--n-gen"}, "tokens to generate, 0 = none (128)", 0, kMostTokens,
                      &options.generations));
  flags.add({.names = {"-pg"},
             .value_name = "P,N",
             .help = "a prompt of P tokens, then N tokens generated (may be repeated)",
             .environment = "",
             .set = [&options](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(const auto pair, parse_number_pair("-pg", text, kMostTokens));
               options.pairs.push_back(pair);
               return {};
             }});
  flags.add(list_flag({"-d", "--n-depth"}, "tokens that the cache has seen before (0)", 0,
                      kMostTokens, &options.depths));
  flags.add({.names = {"--fill"},
             .value_name = "HOW",
             .help = "what is before: prompt (it is read) or synthetic (rows are made up) (prompt)",
             .environment = "",
             .set = [&options](std::string_view name) -> Result<void> {
               for (const BenchFill fill : {BenchFill::kPrompt, BenchFill::kSynthetic}) {
                 if (bench_fill_name(fill) != name) continue;
                 options.fill = fill;
                 return {};
               }
               return wrong("unknown fill " + quoted(name) + " (known: prompt, synthetic)");
             }});
}

void add_run_flags(FlagSet& flags, BenchOptions& options) {
  flags.add_integer({"-r", "--repetitions"}, "times each test is measured (5)", 1, 1 << 20,
                    [&options](long long v) { options.repetitions = v; });
  flags.add_integer({"--delay"}, "seconds to wait before each test (0)", 0, 86400,
                    [&options](long long v) { options.delay_s = v; });
  flags.add_switch({"--no-warmup"}, "measure the first run as well",
                   [&options] { options.warmup = false; });
  flags.add_switch({"--machine"}, "also measure the machine, and say how near each test comes",
                   [&options] { options.machine = true; });
  flags.add({.names = {"-o", "--output"},
             .value_name = "FORMAT",
             .help = "md, csv, json, jsonl or sql (md)",
             .environment = "",
             .set = [&options](std::string_view name) -> Result<void> {
               RESTKV_ASSIGN(options.format, parse_bench_format(name));
               return {};
             }});
  flags.add_integer({"-s", "--seed"}, "seed of the tokens and of made-up rows (0)", 0,
                    std::numeric_limits<std::int32_t>::max(), [&options](long long v) {
                      options.common.kv.seed = static_cast<std::uint64_t>(v);
                    });
}

template <typename T>
std::vector<T> or_default(std::vector<T> list, const T& value) {
  if (list.empty()) list.push_back(value);
  return list;
}

struct Test {
  long long n_prompt = 0;
  long long n_gen = 0;
};

std::vector<Test> tests_of(const BenchOptions& options) {
  std::vector<Test> tests;
  for (const long long n : or_default(options.prompts, 512LL)) {
    if (n > 0) tests.push_back({.n_prompt = n, .n_gen = 0});
  }
  for (const long long n : or_default(options.generations, 128LL)) {
    if (n > 0) tests.push_back({.n_prompt = 0, .n_gen = n});
  }
  for (const auto& [n_prompt, n_gen] : options.pairs) {
    if (n_prompt > 0 || n_gen > 0) tests.push_back({.n_prompt = n_prompt, .n_gen = n_gen});
  }
  return tests;
}

// Every method of decode with every budget. In a list, what reads everything stands once, without
// the budget, and the table of block sizes is for the methods that take one.
Result<std::vector<DecodeFlags>> decodes_of(const DecodeFlags& typed) {
  const std::vector<std::string> methods = split_list(typed.method);
  std::vector<std::string> budgets;
  if (!typed.budget.empty()) {
    RESTKV_ASSIGN(const auto parsed, parse_budget_list("--decode-budget", typed.budget));
    for (const Budget& budget : parsed) budgets.push_back(budget.text());
  }
  if (budgets.empty()) budgets.emplace_back();  // the method's own
  std::vector<DecodeFlags> decodes;
  for (const std::string& method : methods) {
    RESTKV_ASSIGN(const NamedParams named, parse_named_params(method));
    const DecodeMethodInfo* const info = find_decode_method(named.name);
    const bool in_list = methods.size() > 1 && info != nullptr;
    const std::string table = in_list && !info->takes_table ? "" : typed.table;
    if (in_list && info->plan == nullptr) {
      decodes.push_back({.method = method, .budget = "", .table = table});
      continue;
    }
    for (const std::string& budget : budgets) {
      decodes.push_back({.method = method, .budget = budget, .table = table});
    }
  }
  return decodes;
}

// Every (type of keys, type of values, decode) with every (policy, budget, allocator).
Result<std::vector<KvOptions>> variants_of(const BenchOptions& options) {
  RESTKV_ASSIGN(const std::vector<DecodeFlags> decodes, decodes_of(options.common.decode));
  std::vector<KvOptions> variants;
  for (const KvType type_k : or_default(options.types_k, KvType::kF16)) {
    for (const KvType type_v : or_default(options.types_v, KvType::kF16)) {
      for (const DecodeFlags& decode : decodes) {
        CommonOptions common = options.common;
        common.kv.type_k = type_k;
        common.kv.type_v = type_v;
        common.decode = decode;
        RESTKV_ASSIGN(auto more, expand_variants(common));
        variants.insert(variants.end(), more.begin(), more.end());
      }
    }
  }
  return variants;
}

// Variants with patterns of prefill, in the order of bench_cases().
struct Treatment {
  KvOptions kv;
  PrefillAttention prefill;
};
Result<std::vector<Treatment>> treatments_of(const BenchOptions& options) {
  RESTKV_ASSIGN(const std::vector<KvOptions> variants, variants_of(options));
  std::vector<Treatment> treatments;
  for (const KvOptions& kv : variants) {
    for (const PrefillAttention& prefill : or_default(options.prefills, PrefillAttention{})) {
      RESTKV_TRY(check_combination(kv, prefill));
      treatments.push_back({.kv = kv, .prefill = prefill});
    }
  }
  return treatments;
}

// The smaller one of each pair of -b and -ub, each once.
std::vector<long long> chunks_of(const BenchOptions& options) {
  if (options.batches.empty() && options.micro_batches.empty()) return {kDefaultBatch};
  std::vector<long long> chunks;
  for (const long long batch : or_default(options.batches, kMostBatch)) {
    for (const long long micro : or_default(options.micro_batches, kMostBatch)) {
      const long long chunk = std::min(batch, micro);
      if (std::ranges::find(chunks, chunk) == chunks.end()) chunks.push_back(chunk);
    }
  }
  return chunks;
}

}  // namespace

std::string_view bench_fill_name(BenchFill fill) {
  return fill == BenchFill::kPrompt ? "prompt" : "synthetic";
}

void add_bench_flags(FlagSet& flags, BenchOptions& options) {
  options.common.policies = "full";
  add_test_flags(flags, options);
  add_run_flags(flags, options);
  add_kv_flags(flags, options.common);
  flags.remove("--decode-attn");
  flags.remove("--decode-budget");
  flags.add_text({"--decode-attn"}, "NAME[:OPT=V]",
                 "what a step reads of the cache, or a list: " +
                     listed(all_decode_methods(), &DecodeMethodInfo::name) + " (dense)",
                 &options.common.decode.method, "RESTKV_ARG_DECODE_ATTN");
  flags.add_text({"--decode-budget"}, "N|P%",
                 "rows that a KV head reads in a step, or percent of what it holds, or a list",
                 &options.common.decode.budget, "RESTKV_ARG_DECODE_BUDGET");
  add_model_flags(flags, options.common);
  // Here these are lists, or mean nothing.
  for (const std::string_view name : {"-m", "-t", "-b", "-ub", "-ctk", "-ctv", "-c", "--prefill"}) {
    flags.remove(name);
  }
  flags.add(models_flag(&options.models));
  flags.add(threads_flag(&options.threads));
  flags.add(list_flag({"-b", "--batch-size"}, "prompt tokens that pass a layer at a time (512)", 1,
                      kMostBatch, &options.batches, "LLAMA_ARG_BATCH"));
  flags.add(list_flag({"-ub", "--ubatch-size"}, "the same; of -b and -ub the smaller one counts", 1,
                      kMostBatch, &options.micro_batches, "LLAMA_ARG_UBATCH"));
  flags.add(type_flag({"-ctk", "--cache-type-k"},
                      "element types of the keys: f32, f16, bf16, q8_0, q4_0 (f16)",
                      &options.types_k, "LLAMA_ARG_CACHE_TYPE_K"));
  flags.add(prefill_flag(&options.prefills));
  flags.add(type_flag({"-ctv", "--cache-type-v"}, "element types of the values (f16)",
                      &options.types_v, "LLAMA_ARG_CACHE_TYPE_V"));
}

Result<std::vector<BenchCase>> bench_cases(const BenchOptions& options) {
  const std::vector<Test> tests = tests_of(options);
  if (tests.empty() && !options.machine) {
    return wrong("there is nothing to measure: -p, -n and -pg are all 0");
  }
  RESTKV_ASSIGN(const std::vector<Treatment> treatments, treatments_of(options));
  const auto all_processors = static_cast<long long>(Threads(0).count());
  std::vector<BenchCase> cases;
  for (const long long n_threads : or_default(options.threads, all_processors)) {
    for (const long long n_batch : chunks_of(options)) {
      for (const Treatment& treatment : treatments) {
        for (const long long n_depth : or_default(options.depths, 0LL)) {
          for (const Test& test : tests) {
            cases.push_back({.n_prompt = static_cast<std::size_t>(test.n_prompt),
                             .n_gen = static_cast<std::size_t>(test.n_gen),
                             .n_depth = static_cast<std::size_t>(n_depth),
                             .n_threads = static_cast<int>(n_threads),
                             .n_batch = static_cast<std::size_t>(n_batch),
                             .kv = treatment.kv,
                             .prefill = treatment.prefill});
          }
        }
      }
    }
  }
  return cases;
}

}  // namespace restkv
