// How many of 20 hidden facts does each method still find? Every prompt is a made-up logbook of
// about 3000 tokens with one fact in it and a question about the fact at the end. One prefill of a
// prompt feeds all methods and budgets, but for those that read it in pieces (--schedules chunk:N);
// all decode greedily as one batch, each from its own cache.
//
//   bench_retrieval [-m MODEL] [--kv-policy LIST] [--kv-budget LIST] [--prefill NAME] --rows FILE
//
// Prints a table; bench/end_to_end/retrieval_report makes one of several runs' rows.

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/bench_row.h"
#include "cli/commands.h"
#include "cli/demo_text.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/questions.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "common.h"
#include "eval/decode_answers.h"
#include "eval/variant.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kEntries = 104;  // about 3100 tokens
constexpr std::size_t kAnswerTokens = 24;

struct Fact {
  const char* text;
  const char* question;
  const char* answer;
};
constexpr std::array<Fact, 20> kFacts = {{
    {"Note: the code of the strongbox in the customs house is 48213.",
     "What is the code of the strongbox in the customs house?", "48213"},
    {"Note: the pilot's dog, a grey poodle, is called Wellington.",
     "What is the name of the pilot's dog?", "Wellington"},
    {"Note: the spare key of the lighthouse lies under the ninth step.",
     "Under which step does the spare key of the lighthouse lie?", "ninth"},
    {"Note: the harbour feast was moved to the 27th of August.",
     "To which date was the harbour feast moved?", "27"},
    {"Note: the dredger's engine has the serial number 906417.",
     "What is the serial number of the dredger's engine?", "906417"},
    {"Note: the new cook of the seamen's home is Ottilie Brandt.",
     "Who is the new cook of the seamen's home?", "Ottilie"},
    {"Note: the wreck off the north bank lies 31 fathoms deep.",
     "How many fathoms deep does the wreck off the north bank lie?", "31"},
    {"Note: the watchman's password for tonight is cinnamon.",
     "What is the watchman's password for tonight?", "cinnamon"},
    {"Note: the tide gauge was last calibrated by Mr. Okonjo.",
     "Who last calibrated the tide gauge?", "Okonjo"},
    {"Note: the bonded warehouse holds 7350 barrels of molasses.",
     "How many barrels of molasses does the bonded warehouse hold?", "7350"},
    {"Note: the harbour seal is kept in the drawer with the purple handle.",
     "What colour is the handle of the drawer that holds the harbour seal?", "purple"},
    {"Note: the telegraph office can be reached under the number 55824.",
     "Under which number can the telegraph office be reached?", "55824"},
    {"Note: the ferry to Lindholm costs 14 shillings from now on.",
     "How many shillings does the ferry to Lindholm cost from now on?", "14"},
    {"Note: the bell of the chapel was cast in the year 1683.",
     "In which year was the bell of the chapel cast?", "1683"},
    {"Note: the missing anchor was found in the garden of the widow Tarrant.",
     "In whose garden was the missing anchor found?", "Tarrant"},
    {"Note: the rat catcher's cat is called Nefertiti.", "What is the rat catcher's cat called?",
     "Nefertiti"},
    {"Note: the buoy at the sandbank carries the mark QX-72.",
     "Which mark does the buoy at the sandbank carry?", "QX-72"},
    {"Note: the surveyor will return on the third Thursday of November.",
     "In which month will the surveyor return?", "November"},
    {"Note: the captain of the quarantine boat has a wooden leg made of walnut.",
     "Of which wood is the leg of the captain of the quarantine boat made?", "walnut"},
    {"Note: the combination of the powder store is 3-19-44.",
     "What is the combination of the powder store?", "3-19-44"},
}};

// A method at a budget in a mode, and how it did.
struct Row {
  QueryMode mode = QueryMode::kAware;
  const KvOptions* variant = nullptr;
  int right = 0;
  double tokens = 0;   // that the prompts have, all together
  double bytes = 0;    // of the cache after the prefill, of all prompts
  double density = 0;  // of the prefill's attention, mean over layers, summed over prompts
};

// A way to read a part of the full cache goes by its own name.
bool only_reads_less(const KvOptions& variant) {
  return find_policy(variant.policy)->keeps_all && variant.decode.method != "dense";
}

std::string method_of(const KvOptions& variant) {
  if (only_reads_less(variant)) {
    KvOptions without_budget = variant;
    without_budget.decode.budget.reset();
    return decode_text(without_budget);
  }
  std::string name = policy_text(variant);
  if (variant.allocator != "uniform") name += " + " + allocator_text(variant);
  if (variant.granularity == Granularity::kQueryHead) name += " + query-head";
  if (variant.schedule.kind != Schedule::Kind::kOnce) name += " " + variant.schedule.text();
  if (variant.decode.method != "dense") name += " read by " + decode_text(variant);
  return name;
}

// Rows kept, or read where all are kept; nothing where all are kept and read.
std::string budget_of(const KvOptions& variant) {
  if (only_reads_less(variant)) return variant.decode.budget ? variant.decode.budget->text() : "";
  return find_policy(variant.policy)->keeps_all ? "" : variant.budget.text();
}

// Looks for the answer in the text, and says so.
void count(std::size_t index, std::size_t tokens, const std::string& text, Row& row) {
  const bool found = text.find(kFacts[index].answer) != std::string::npos;
  row.right += found ? 1 : 0;
  std::fprintf(stderr, "%2zu %5zu tokens  %-8s %-22s %-6s %-5s %s\n", index + 1, tokens,
               std::string(query_mode_name(row.mode)).c_str(), method_of(*row.variant).c_str(),
               budget_of(*row.variant).c_str(), found ? "right" : "wrong",
               text.substr(0, 60).c_str());
}

class Retrieval {
 public:
  // alone: so many of the first facts are answered one by one as well, and must give the same.
  Retrieval(Session session, PrefillAttention attention, std::size_t alone,
            const InterruptGuard& interrupt)
      : session_(std::move(session)), alone_(alone), interrupt_(interrupt) {
    prefill_.cancel = &interrupt.flag();
    prefill_.attention = std::move(attention);
  }

  // Asks for every fact. One prefill of a prompt feeds all variants.
  Result<std::vector<Row>> measure(QueryMode mode, const std::vector<KvOptions>& variants);
  [[nodiscard]] const Session& session() const { return session_; }

 private:
  Result<void> ask(std::size_t index, std::vector<Row>& rows);
  // One sequence for each row, and the logits after the text: [rows, n_vocab].
  Result<std::vector<Sequence>> read(std::span<const Token> text, const std::vector<Row>& rows,
                                     std::vector<float>& logits);
  // The answers of sequences that have read the question. logits: [sequences, n_vocab].
  Result<std::vector<std::string>> answers(std::span<Sequence> sequences,
                                           const std::vector<float>& logits);

  Session session_;
  PrefillOptions prefill_;
  std::size_t alone_;
  const InterruptGuard& interrupt_;
};

Result<std::vector<Row>> Retrieval::measure(QueryMode mode,
                                            const std::vector<KvOptions>& variants) {
  std::vector<Row> rows;
  for (const KvOptions& variant : variants) rows.push_back({.mode = mode, .variant = &variant});
  for (std::size_t i = 0; i < kFacts.size(); ++i) RESTKV_TRY(ask(i, rows));
  return rows;
}

Result<void> Retrieval::ask(std::size_t index, std::vector<Row>& rows) {
  const Fact& fact = kFacts[index];
  const HiddenLine hidden[] = {
      {fact.text, (static_cast<double>(index) + 0.5) / static_cast<double>(kFacts.size())}};
  PromptOptions prompt;
  prompt.prompt = std::string(fact.question) + " Answer in a few words.";
  prompt.prompts = {prompt.prompt};
  RESTKV_ASSIGN(const PromptParts parts,
                prompt_parts(session_, prompt, make_logbook(kEntries, 100 + index, hidden),
                             rows.front().mode));
  std::vector<float> logits;  // [sequences, n_vocab]
  RESTKV_ASSIGN(std::vector<Sequence> sequences, read(parts.text, rows, logits));
  const std::size_t n_vocab = logits.size() / rows.size();
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const KvReport report = sequences[i].report();
    rows[i].tokens += static_cast<double>(parts.text.size());
    rows[i].bytes += static_cast<double>(report.bytes);
    rows[i].density += report.prefill.mean_density();
    std::vector<float> last;
    for (const std::vector<Token>& question : parts.questions) {
      RESTKV_TRY(session_.engine->extend(sequences[i], question, prefill_, last));
      std::ranges::copy(last, logits.begin() + static_cast<std::ptrdiff_t>(i * n_vocab));
    }
  }
  std::vector<Sequence> again;
  if (index < alone_) {
    for (const Sequence& sequence : sequences) again.push_back(sequence.fork());
  }
  RESTKV_ASSIGN(const std::vector<std::string> texts, answers(sequences, logits));
  for (std::size_t i = 0; i < rows.size(); ++i) count(index, parts.text.size(), texts[i], rows[i]);
  for (std::size_t i = 0; i < again.size(); ++i) {
    const auto first = logits.begin() + static_cast<std::ptrdiff_t>(i * n_vocab);
    const std::vector<float> own(first, first + static_cast<std::ptrdiff_t>(n_vocab));
    RESTKV_ASSIGN(const std::vector<std::string> text, answers({&again[i], 1}, own));
    if (text.front() != texts[i]) {
      return Error{ErrorCode::kInternal, method_of(*rows[i].variant) + " " +
                                             budget_of(*rows[i].variant) +
                                             ": another answer alone than in a batch"};
    }
  }
  return {};
}

Result<std::vector<Sequence>> Retrieval::read(std::span<const Token> text,
                                              const std::vector<Row>& rows,
                                              std::vector<float>& logits) {
  std::vector<KvOptions> together;
  for (const Row& row : rows) {
    if (row.variant->schedule.kind != Schedule::Kind::kChunk) together.push_back(*row.variant);
  }
  std::vector<Sequence> common;
  std::vector<float> common_logits;
  if (!together.empty()) {
    RESTKV_ASSIGN(common, session_.engine->prefill(text, together, prefill_, common_logits));
  }
  std::vector<Sequence> sequences;
  auto next = common.begin();
  for (const Row& row : rows) {
    if (row.variant->schedule.kind != Schedule::Kind::kChunk) {
      sequences.push_back(std::move(*next++));
      logits.insert(logits.end(), common_logits.begin(), common_logits.end());
      continue;
    }
    std::vector<float> own;
    RESTKV_ASSIGN(std::vector<Sequence> alone,
                  session_.engine->prefill(text, {row.variant, 1}, prefill_, own));
    sequences.push_back(std::move(alone.front()));
    logits.insert(logits.end(), own.begin(), own.end());
  }
  return sequences;
}

Result<std::vector<std::string>> Retrieval::answers(std::span<Sequence> sequences,
                                                    const std::vector<float>& logits) {
  const View2<const float> view{logits.data(), sequences.size(), logits.size() / sequences.size()};
  RESTKV_ASSIGN(const std::vector<Answer> made,
                decode_answers(*session_.engine, *session_.vocabulary, sequences, view,
                               {.stops = {},
                                .min_new_tokens = 0,
                                .max_new_tokens = kAnswerTokens,
                                .context = static_cast<std::size_t>(session_.context),
                                .cancel = &interrupt_.flag()}));
  std::vector<std::string> texts;
  for (const Answer& answer : made) texts.push_back(answer.text);
  return texts;
}

// A line for each method, in the order of the rows; a column for each budget.
void print_table(const std::vector<Row>& rows) {
  std::vector<std::string> methods;
  std::vector<std::string> budgets;
  std::map<std::pair<std::string, std::string>, int> right;
  const auto note = [](std::vector<std::string>& names, const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const Row& row : rows) {
    note(methods, method_of(*row.variant));
    note(budgets, budget_of(*row.variant));
    right[{method_of(*row.variant), budget_of(*row.variant)}] = row.right;
  }
  std::printf("| method |");
  for (const std::string& budget : budgets) {
    std::printf(" %s |", budget.empty() ? "all" : budget.c_str());
  }
  std::printf("\n|---|");
  for (std::size_t i = 0; i < budgets.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (const std::string& method : methods) {
    std::printf("| `%s` |", method.c_str());
    for (const std::string& budget : budgets) {
      const auto found = right.find({method, budget});
      std::printf(" %s |", found == right.end() ? "" : std::to_string(found->second).c_str());
    }
    std::printf("\n");
  }
}

// One JSON object in a line for each row, for pictures and further tables.
Result<void> write_rows(const std::string& path, const std::string& prefill,
                        const std::vector<Row>& rows) {
  std::ofstream file(path, std::ios::app);
  constexpr double kPrompts = static_cast<double>(kFacts.size());
  for (const Row& row : rows) {
    nlohmann::ordered_json line;
    line["mode"] = query_mode_name(row.mode);
    line["method"] = method_of(*row.variant);
    line["budget"] = budget_of(*row.variant);
    line["prefill"] = prefill;
    line["density"] = row.density / kPrompts;
    line["tokens"] = row.tokens / kPrompts;
    line["right"] = row.right;
    line["of"] = kFacts.size();
    line["kv_bytes"] = row.bytes / kPrompts;
    file << line.dump() << "\n";
  }
  file.flush();
  if (!file) return Error{ErrorCode::kIo, path + ": cannot be written"};
  return {};
}

struct RetrievalOptions {
  CommonOptions common;
  std::string modes = "aware";
  std::string schedules = "once";
  std::string variants_file;  // empty: the product of the lists
  std::string rows_file;
  std::size_t alone = 0;
};

Result<std::vector<KvOptions>> variants_of(const RetrievalOptions& options) {
  std::vector<KvOptions> all;
  if (!options.variants_file.empty()) {
    EvalVariant defaults;
    defaults.kv = options.common.kv;
    RESTKV_ASSIGN(const std::vector<EvalVariant> listed,
                  read_variants(options.variants_file, defaults));
    for (const EvalVariant& variant : listed) all.push_back(options_of(variant));
    return all;
  }
  for (const std::string& schedule : split_list(options.schedules)) {
    CommonOptions common = options.common;
    RESTKV_ASSIGN(common.kv.schedule, Schedule::parse(schedule));
    RESTKV_ASSIGN(const std::vector<KvOptions> variants, expand_variants(common));
    all.insert(all.end(), variants.begin(), variants.end());
  }
  return all;
}

Result<int> measure(const RetrievalOptions& options, const std::vector<KvOptions>& variants) {
  std::vector<QueryMode> modes;
  for (const std::string& name : split_list(options.modes)) {
    RESTKV_ASSIGN(const QueryMode mode, parse_query_mode(name));
    modes.push_back(mode);
  }
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  Retrieval retrieval(std::move(session), options.common.prefill, options.alone, interrupt);
  const CommonOptions& common = options.common;
  std::printf("# Finding one fact in 3000 tokens\n\n");
  std::printf(
      "Written by `bench_retrieval` (bench/end_to_end/retrieval.cc). Right answers out of %zu, "
      "greedy,\n"
      "%s, KV heads' budgets in tokens, %d sinks and a window of %d protected, prefill %s, kernels "
      "%s.\n",
      kFacts.size(), retrieval.session().engine->model().name.c_str(), common.kv.sinks,
      common.kv.window, prefill_text(common.prefill).c_str(),
      std::string(retrieval.session().engine->kernels()).c_str());
  for (const QueryMode mode : modes) {
    RESTKV_ASSIGN(const std::vector<Row> rows, retrieval.measure(mode, variants));
    std::printf("\n%s\n\n", mode == QueryMode::kAware
                                ? "The question is read before rows are dropped:"
                                : "Rows are dropped before the question is read:");
    print_table(rows);
    std::fflush(stdout);
    if (!options.rows_file.empty()) {
      RESTKV_TRY(write_rows(options.rows_file, prefill_text(common.prefill), rows));
    }
  }
  return 0;
}

int main_with(Arguments args) {
  RetrievalOptions options;
  CommonOptions& common = options.common;
  common.policies = "full,rest-kv,snapkv,tova,h2o,streaming-llm,knorm,random";
  common.budgets = "64,128,256,512";
  FlagSet flags("usage: bench_retrieval [options]");
  add_kv_flags(flags, common);
  flags.remove("--kv-schedule");
  add_model_flags(flags, common);
  flags.begin_section("measurement");
  flags.add_text({"--modes"}, "LIST", "aware, agnostic (aware)", &options.modes, "");
  flags.add_text(
      {"--schedules"}, "LIST",
      "when rows are dropped: once, chunk:N, and every:N or cap, which act on the answer "
      "(once)",
      &options.schedules, "");
  flags.add_text({"--variants"}, "FILE",
                 "variants as `restkv eval --variants` takes them, in the place of the lists",
                 &options.variants_file, "");
  flags.add_text({"--rows"}, "FILE", "a line of JSON for each row is added to this file",
                 &options.rows_file, "");
  flags.add_integer({"--alone"},
                    "so many facts are asked one by one as well; other answers are an error (0)", 0,
                    static_cast<long long>(kFacts.size()),
                    [&options](long long n) { options.alone = static_cast<std::size_t>(n); });
  if (const auto status = read_flags(flags, args, common.show_help)) return *status;
  auto variants = variants_of(options);
  if (!variants.ok()) return report_usage(variants.error());
  return end_command(measure(options, *variants), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
