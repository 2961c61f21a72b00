// What it costs to compare many methods on one prompt: one prefill that feeds 10 pairs of policy
// and allocator at 4 budgets over one that feeds a single cache, and the tokens per second of all
// 40 caches decoding together over those of one. In turn, so that every ratio is of two neighbours
// in time; the median of the rounds.
//
//   bench_variants [-m MODEL] [-t N] [--tokens N] [--rounds N] [--steps N]

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/demo_text.h"
#include "cli/interrupt.h"
#include "cli/kv_report.h"
#include "cli/options.h"
#include "cli/ranks.h"
#include "cli/session.h"
#include "common.h"

namespace restkv {
namespace {

struct VariantsOptions {
  CommonOptions common;
  long long tokens = 4096;
  long long rounds = 3;
  long long steps = 16;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Result<std::vector<KvOptions>> forty_variants(const CommonOptions& common) {
  std::vector<KvOptions> all;
  const auto add = [&all, &common](const char* policies, const char* allocators) -> Result<void> {
    CommonOptions options = common;
    options.policies = policies;
    options.allocators = allocators;
    options.budgets = "128,256,512,1024";
    RESTKV_ASSIGN(const std::vector<KvOptions> variants, expand_variants(options));
    all.insert(all.end(), variants.begin(), variants.end());
    return {};
  };
  RESTKV_TRY(add("rest-kv,snapkv", "uniform,pyramid,ada"));
  RESTKV_TRY(add("h2o,tova,streaming-llm,keydiff", "uniform"));
  return all;
}

class Measurement {
 public:
  Measurement(Session& session, std::vector<Token> prompt, const InterruptGuard& interrupt)
      : engine_(*session.engine), prompt_(std::move(prompt)) {
    prefill_.cancel = &interrupt.flag();
  }

  struct Cost {
    double prefill_ms = 0;
    double tokens_per_second = 0;  // of all caches together
  };
  Result<Cost> of(std::span<const KvOptions> variants, std::size_t steps);

 private:
  Engine& engine_;
  std::vector<Token> prompt_;
  PrefillOptions prefill_;
};

Result<Measurement::Cost> Measurement::of(std::span<const KvOptions> variants, std::size_t steps) {
  Cost cost;
  std::vector<float> last;
  Clock::time_point start = Clock::now();
  RESTKV_ASSIGN(std::vector<Sequence> sequences,
                engine_.prefill(prompt_, variants, prefill_, last));
  cost.prefill_ms = ms_since(start);
  std::vector<Sequence*> pointers;
  for (Sequence& sequence : sequences) pointers.push_back(&sequence);
  const auto n_vocab = last.size();
  std::vector<float> logits(sequences.size() * n_vocab);
  const std::vector<Token> tokens(sequences.size(), prompt_.back());
  const auto step = [&] {
    return engine_.decode(pointers, tokens, {logits.data(), sequences.size(), n_vocab});
  };
  RESTKV_TRY(step());
  start = Clock::now();
  for (std::size_t i = 0; i < steps; ++i) RESTKV_TRY(step());
  cost.tokens_per_second =
      static_cast<double>(steps * sequences.size()) / (ms_since(start) / 1000.0);
  return cost;
}

Result<int> measure(const VariantsOptions& options) {
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(Session session, Session::open(options.common, interrupt.flag()));
  RESTKV_ASSIGN(const std::vector<KvOptions> many, forty_variants(options.common));
  // An entry has about 30 tokens.
  const auto entries =
      std::min<std::size_t>(static_cast<std::size_t>(options.tokens) / 25 + 8, 1000);
  RESTKV_ASSIGN(std::vector<Token> prompt,
                session.first_prompt({}, make_logbook(entries, /*seed=*/1, {})));
  prompt.resize(std::min(prompt.size(), static_cast<std::size_t>(options.tokens)));
  Measurement measurement(session, prompt, interrupt);
  const auto steps = static_cast<std::size_t>(options.steps);
  std::vector<double> prefill_ratios;
  std::vector<double> decode_ratios;
  std::printf("%zu tokens, %d threads, kernels %s, %zu variants over one\n", prompt.size(),
              session.engine->threads(), std::string(session.engine->kernels()).c_str(),
              many.size());
  for (long long round = 0; round < options.rounds; ++round) {
    RESTKV_ASSIGN(const Measurement::Cost one, measurement.of(std::span(many).first(1), steps));
    RESTKV_ASSIGN(const Measurement::Cost all, measurement.of(many, steps));
    prefill_ratios.push_back(all.prefill_ms / one.prefill_ms);
    decode_ratios.push_back(all.tokens_per_second / one.tokens_per_second);
    std::printf(
        "round %lld: prefill %.1f s and %.1f s (%.2f), decode %.1f and %.1f tokens/s (%.2f)\n",
        round + 1, one.prefill_ms / 1000.0, all.prefill_ms / 1000.0, prefill_ratios.back(),
        one.tokens_per_second, all.tokens_per_second, decode_ratios.back());
    std::fflush(stdout);
  }
  std::printf(
      "median: a prefill for all takes %.2f of one for one; all decode %.2f of one's "
      "tokens/s\n",
      median(prefill_ratios), median(decode_ratios));
  return 0;
}

int main_with(Arguments args) {
  VariantsOptions options;
  FlagSet flags("usage: bench_variants [options]");
  add_model_flags(flags, options.common);
  flags.begin_section("measurement");
  flags.add_integer({"--tokens"}, "tokens of the prompt (4096)", 64, 32768,
                    [&options](long long v) { options.tokens = v; });
  flags.add_integer({"--rounds"}, "measurements of each (3)", 1, 1000,
                    [&options](long long v) { options.rounds = v; });
  flags.add_integer({"--steps"}, "tokens that every cache writes (16)", 1, 4096,
                    [&options](long long v) { options.steps = v; });
  if (const auto status = read_flags(flags, args, options.common.show_help)) return *status;
  return end_command(measure(options), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
