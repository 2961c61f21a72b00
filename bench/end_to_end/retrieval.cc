// How many of 20 hidden facts does each method still find? Every prompt is a made-up logbook of
// about 3000 tokens with one fact in it and a question about the fact at the end. One prefill of a
// prompt feeds all methods and budgets; each decodes greedily from its own cache.
//
//   bench_retrieval [-m MODEL] [--kv-policy LIST] [--kv-budget LIST] ...   writes docs/retrieval.md
//   to stdout

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/demo_text.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/session.h"

namespace restkv {
namespace {

constexpr std::size_t kEntries = 104;  // about 3100 tokens
constexpr long long kAnswerTokens = 24;

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

Result<void> ask(Session& session, std::size_t index, const std::vector<KvOptions>& variants,
                 const InterruptGuard& interrupt, std::vector<int>& right) {
  const Fact& fact = kFacts[index];
  const HiddenLine hidden[] = {
      {fact.text, (static_cast<double>(index) + 0.5) / static_cast<double>(kFacts.size())}};
  const std::string text = make_logbook(kEntries, 100 + index, hidden);
  RESTKV_ASSIGN(const std::vector<Token> tokens,
                session.first_prompt({}, text + "\n" + fact.question + " Answer in a few words."));
  GenerationOptions generation;
  generation.sampler.temperature = 0;
  RESTKV_ASSIGN(const Sampler sampler, make_sampler(generation, *session.vocabulary));
  std::vector<float> prompt_logits;
  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                session.engine->prefill(tokens, variants, prefill, prompt_logits));
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    Sampler own = sampler.clone();
    std::vector<float> logits = prompt_logits;
    RESTKV_ASSIGN(const Generation answer,
                  generate(*session.engine, *session.vocabulary, sequences[i], own, logits,
                           {.n_predict = kAnswerTokens,
                            .context = session.context,
                            .cancel = &interrupt.flag(),
                            .on_text = {}}));
    const bool found = answer.text.find(fact.answer) != std::string::npos;
    right[i] += found ? 1 : 0;
    std::fprintf(stderr, "%2zu %5zu tokens  %-14s %-6s %-5s %s\n", index + 1, tokens.size(),
                 variants[i].policy.c_str(), variants[i].budget.text().c_str(),
                 found ? "right" : "wrong", answer.text.substr(0, 60).c_str());
  }
  return {};
}

Result<int> measure(const CommonOptions& common, const std::vector<KvOptions>& variants) {
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(Session session, Session::open(common, interrupt.flag()));
  std::vector<int> right(variants.size(), 0);
  for (std::size_t i = 0; i < kFacts.size(); ++i) {
    RESTKV_TRY(ask(session, i, variants, interrupt, right));
  }
  const std::vector<std::string> budgets = split_list(common.budgets);
  std::printf("# Finding one fact in 3000 tokens\n\n");
  std::printf(
      "Written by `bench_retrieval` (bench/end_to_end/retrieval.cc). Right answers out of %zu, "
      "greedy,\n"
      "%s, %s, KV heads' budgets in tokens, %d sinks and a window of %d protected, kernels %s.\n\n",
      kFacts.size(), session.engine->model().name.c_str(), common.allocators.c_str(),
      common.kv.sinks, common.kv.window, std::string(session.engine->kernels()).c_str());
  std::printf("| method |");
  for (const std::string& budget : budgets) std::printf(" %s |", budget.c_str());
  std::printf("\n|---|");
  for (std::size_t i = 0; i < budgets.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (std::size_t i = 0; i < variants.size();) {
    const KvOptions& first = variants[i];
    std::printf("| `%s` |", first.policy.c_str());
    std::size_t next = i;
    while (next < variants.size() && variants[next].policy == first.policy) ++next;
    for (std::size_t b = 0; b < budgets.size(); ++b) {
      std::printf(" %d |", right[std::min(i + b, next - 1)]);
    }
    std::printf("\n");
    i = next;
  }
  return 0;
}

int main_with(Arguments args) {
  CommonOptions options;
  options.policies = "full,rest-kv,snapkv,tova,h2o,streaming-llm,knorm,random";
  options.budgets = "64,128,256,512";
  FlagSet flags("usage: bench_retrieval [options] > docs/retrieval.md");
  add_kv_flags(flags, options);
  add_model_flags(flags, options);
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (options.show_help) {
    std::fputs(flags.help().c_str(), stdout);
    return 0;
  }
  auto variants = expand_variants(options);
  if (!variants.ok()) return report_usage(variants.error());
  auto status = measure(options, *variants);
  return status.ok() ? *status : report_error(status.error());
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  return restkv::main_with(args);
}
