#include "text/sampler.h"

#include <llama.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"

namespace restkv {
namespace {

Error out_of_range(std::string_view option, std::string_view allowed) {
  return {ErrorCode::kInvalidArgument, std::string(option).append(": must be ").append(allowed)};
}

Result<void> validate(const SamplerOptions& options, std::size_t n_vocab) {
  if (n_vocab == 0 || n_vocab > std::numeric_limits<std::int32_t>::max()) {
    return out_of_range("vocabulary size", "in [1, 2^31)");
  }
  if (!std::isfinite(options.temperature)) return out_of_range("temp", "a finite number");
  // Negated, so that NaN is caught.
  if (!(options.top_p >= 0 && options.top_p <= 1)) return out_of_range("top-p", "in [0, 1]");
  if (!(options.min_p >= 0 && options.min_p <= 1)) return out_of_range("min-p", "in [0, 1]");
  if (!(options.repeat_penalty > 0) || !std::isfinite(options.repeat_penalty) ||
      !std::isfinite(1.0F / options.repeat_penalty)) {
    return out_of_range("repeat-penalty", "a finite number above 0");
  }
  if (options.repeat_last_n < 0) return out_of_range("repeat-last-n", "0 or more");
  for (const Token token : options.forbidden) {
    if (token < 0 || static_cast<std::size_t>(token) >= n_vocab) {
      return out_of_range("forbidden token", "in the vocabulary, not " + std::to_string(token));
    }
  }
  return {};
}

// The first of the largest in [begin, end) and its value; NaN is never larger.
struct Largest {
  float value = -std::numeric_limits<float>::infinity();
  std::size_t at = 0;
};

void look_through(std::span<const float> logits, std::size_t begin, std::size_t end,
                  Largest& largest) {
  // Lanes and short blocks, so that the compiler makes vector instructions of the maximum and only
  // one block is searched for its place.
  constexpr std::size_t kLanes = 16;
  constexpr std::size_t kBlock = 64 * kLanes;
  for (std::size_t block = begin; block < end; block += kBlock) {
    const std::span<const float> part = logits.subspan(block, std::min(kBlock, end - block));
    std::array<float, kLanes> most;
    most.fill(largest.value);
    std::size_t i = 0;
    for (; i + kLanes <= part.size(); i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const float logit = part[i + lane];
        most[lane] = logit > most[lane] ? logit : most[lane];
      }
    }
    for (; i < part.size(); ++i) most[0] = part[i] > most[0] ? part[i] : most[0];
    const float value = *std::ranges::max_element(most);
    if (!(value > largest.value)) continue;
    largest = {
        .value = value,
        .at = block + static_cast<std::size_t>(std::ranges::find(part, value) - part.begin())};
  }
}

// What a greedy chain picks, without a table of candidates: a vocabulary of 150,000 tokens makes
// the table a few per cent of a decode step. forbidden: increasing
Token largest_of(std::span<const float> logits, std::span<const Token> forbidden) {
  Largest found;
  std::size_t begin = 0;
  for (const Token token : forbidden) {
    const auto at = static_cast<std::size_t>(token);
    if (at > begin) look_through(logits, begin, at, found);
    begin = std::max(begin, at + 1);
  }
  look_through(logits, begin, logits.size(), found);
  return static_cast<Token>(found.at);
}

}  // namespace

SamplerOptions with_wishes(SamplerOptions options, const SamplerWishes& wishes) {
  options.temperature = wishes.temperature.value_or(options.temperature);
  options.top_k = wishes.top_k.value_or(options.top_k);
  options.top_p = wishes.top_p.value_or(options.top_p);
  options.min_p = wishes.min_p.value_or(options.min_p);
  options.repeat_penalty = wishes.repeat_penalty.value_or(options.repeat_penalty);
  options.repeat_last_n = wishes.repeat_last_n.value_or(options.repeat_last_n);
  return options;
}

Result<Sampler> Sampler::make(const SamplerOptions& options, std::size_t n_vocab) {
  RESTKV_TRY(validate(options, n_vocab));
  const auto n = static_cast<std::int32_t>(n_vocab);
  llama_sampler_chain_params params = llama_sampler_chain_default_params();
  params.no_perf = true;
  std::unique_ptr<llama_sampler, FreeChain> chain(llama_sampler_chain_init(params));
  const auto add = [&chain](llama_sampler* sampler) {
    llama_sampler_chain_add(chain.get(), sampler);  // the chain owns it now
  };

  std::vector<llama_logit_bias> biases;
  for (const Token token : options.forbidden) {
    biases.push_back({token, -std::numeric_limits<float>::infinity()});
  }
  if (!biases.empty()) {
    add(llama_sampler_init_logit_bias(n, static_cast<std::int32_t>(biases.size()), biases.data()));
  }
  add(llama_sampler_init_penalties(n, options.repeat_last_n, options.repeat_penalty,
                                   /*penalty_freq=*/0.0F, /*penalty_present=*/0.0F));
  if (is_greedy(options)) {
    // Not a temperature of 0 before the draw: libllama's partial sort would break ties as it likes.
    add(llama_sampler_init_greedy());
  } else {
    add(llama_sampler_init_top_k(options.top_k));
    add(llama_sampler_init_top_p(options.top_p, /*min_keep=*/1));
    add(llama_sampler_init_min_p(options.min_p, /*min_keep=*/1));
    add(llama_sampler_init_temp(options.temperature));
    add(llama_sampler_init_dist(options.seed.value_or(LLAMA_DEFAULT_SEED)));
  }
  std::optional<Greedy> greedy;
  const bool penalises = options.repeat_penalty != 1.0F && options.repeat_last_n != 0;
  if (is_greedy(options) && !penalises) {
    greedy = {.forbidden = options.forbidden};
    std::ranges::sort(greedy->forbidden);
  }
  return Sampler(std::move(chain), n_vocab, std::move(greedy));
}

Sampler::Sampler(std::unique_ptr<llama_sampler, FreeChain> chain, std::size_t n_vocab,
                 std::optional<Greedy> greedy)
    : chain_(std::move(chain)), candidates_(n_vocab), greedy_(std::move(greedy)) {}

Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

void Sampler::FreeChain::operator()(llama_sampler* chain) const { llama_sampler_free(chain); }

Token Sampler::sample(std::span<const float> logits) {
  RESTKV_CHECK(logits.size() == candidates_.size());
  if (greedy_) return largest_of(logits, greedy_->forbidden);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    candidates_[i] = {static_cast<Token>(i), logits[i], 0.0F};
  }
  llama_token_data_array array{candidates_.data(), candidates_.size(), /*selected=*/-1,
                               /*sorted=*/false};
  llama_sampler_apply(chain_.get(), &array);
  const bool selected =
      array.selected >= 0 && array.selected < static_cast<std::int64_t>(array.size);
  return array.data[selected ? array.selected : 0].id;
}

void Sampler::accept(Token token) {
  RESTKV_CHECK(token >= 0 && static_cast<std::size_t>(token) < candidates_.size());
  llama_sampler_accept(chain_.get(), token);
}

void Sampler::accept(std::span<const Token> tokens) {
  for (const Token token : tokens) accept(token);
}

Sampler Sampler::clone() const {
  std::unique_ptr<llama_sampler, FreeChain> chain(llama_sampler_clone(chain_.get()));
  return Sampler(std::move(chain), candidates_.size(), greedy_);
}

}  // namespace restkv
