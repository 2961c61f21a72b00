#include "restkv/engine.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/check.h"
#include "engine/decode.h"
#include "engine/pieces.h"
#include "engine/row_report.h"
#include "engine/sparse_decode.h"
#include "engine/state.h"
#include "engine/synthetic.h"
#include "restkv/shared_prefix.h"
#include "tensor/vocabulary_check.h"

namespace restkv {
namespace {

// More than any machine has; a number that cannot be started would end the process.
constexpr int kMostThreads = 1024;

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

Error no_memory_for(const std::string& what) {
  return {ErrorCode::kOutOfMemory, "no memory for " + what};
}

Result<void> check_tokens(const ModelInfo& model, std::span<const Token> tokens) {
  if (tokens.empty()) return invalid("there are no tokens to read");
  for (const Token token : tokens) {
    if (token < 0 || token >= model.n_vocab) {
      return invalid("token " + std::to_string(token) + " is outside the vocabulary of " +
                     std::to_string(model.n_vocab));
    }
  }
  return {};
}

// Types that this model's heads can be stored in, and one form of the layer that is being read.
Result<void> check_types(const ModelInfo& model, std::span<const KvOptions> variants) {
  bool any_f32 = false;
  bool any_other = false;
  for (const KvOptions& options : variants) {
    for (const KvType type : {options.type_k, options.type_v}) {
      if (kv_type_is_quantised(type) && model.head_dim % static_cast<int>(kQuantBlock) != 0) {
        return invalid("a " + std::string(kv_type_name(type)) + " cache needs a head dimension " +
                       "that is a multiple of 32, not " + std::to_string(model.head_dim));
      }
    }
    const bool f32 = working_type(options.type_k, options.type_v) == KvType::kF32;
    any_f32 |= f32;
    any_other |= !f32;
  }
  if (any_f32 && any_other) return invalid("f32 caches cannot share a prefill with other types");
  return {};
}

bool any_in_pieces(std::span<const std::shared_ptr<const Variant>> variants) {
  return std::ranges::any_of(variants, [](const auto& variant) {
    return variant->options().schedule.kind == Schedule::Kind::kChunk;
  });
}

Result<void> check_prefix(const Engine::State& engine, std::span<const Token> tokens,
                          const SharedPrefix* prefix) {
  if (prefix == nullptr) return {};
  const std::span<const Token> shared = prefix->tokens();
  if (engine.shareable_tokens(shared.size()) != shared.size()) {
    return invalid("a beginning of " + std::to_string(shared.size()) +
                   " tokens cannot be shared without changing bits");
  }
  if (shared.size() > tokens.size() || !std::ranges::equal(shared, tokens.first(shared.size()))) {
    return invalid("the prompt does not begin with the tokens that are shared");
  }
  return {};
}

}  // namespace

Sequence::Sequence(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence& Sequence::operator=(Sequence&&) noexcept = default;
Sequence::~Sequence() = default;

Position Sequence::next_position() const { return state_->next_position; }
const KvOptions& Sequence::options() const { return state_->variant->options(); }
std::size_t Sequence::bytes() const { return state_->cache.bytes(); }

std::size_t Sequence::rows() const {
  const CacheShape& shape = state_->cache.shape();
  std::size_t rows = 0;
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    for (int h = 0; h < shape.n_kv_head; ++h) rows += state_->cache.rows(layer, h);
  }
  return rows;
}

KvReport Sequence::report() const {
  KvReport report = state_->report;
  const CacheShape& shape = state_->cache.shape();
  report.end_tokens_max = 0;
  const int sets = shape.n_kv_head * shape.sets;
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    for (int set = 0; set < sets; ++set) {
      report.end_tokens_max = std::max(report.end_tokens_max, state_->cache.held_count(layer, set));
    }
  }
  report.decode = decode_report(*state_);
  const GeneratedCounts& generated = state_->generated;
  report.compressions = generated.compressions;
  report.generated_dropped =
      static_cast<double>(generated.dropped_rows) / (static_cast<double>(shape.n_layer) * sets);
  report.generated_compress_ms = generated.compress_ms;
  report.query_bytes = state_->queries.bytes();
  return report;
}

KeptPositions Sequence::kept_positions() const {
  const CacheShape& shape = state_->cache.shape();
  KeptPositions kept(static_cast<std::size_t>(shape.n_layer));
  for (int layer = 0; layer < shape.n_layer; ++layer) {
    for (int set = 0; set < shape.n_kv_head * shape.sets; ++set) {
      kept[static_cast<std::size_t>(layer)].push_back(state_->cache.held_positions(layer, set));
    }
  }
  return kept;
}

Sequence Sequence::fork() const { return Sequence(std::make_unique<State>(state_->fork())); }

Sequence::State Sequence::State::fork() const {
  return {.variant = variant,
          .cache = cache.fork(),
          .next_position = next_position,
          .report = report,
          .queries = queries,
          .generated = generated,
          .summaries = summaries,
          .decode_reads = decode_reads,
          .cursors = cursors};
}

void Sequence::State::take(PrefillOutcome& outcome, std::size_t i, std::size_t n_token) {
  cache = std::move(outcome.caches[i]);
  report = std::move(outcome.reports[i]);
  queries = std::move(outcome.queries[i]);
  cursors = std::move(outcome.cursors[i]);
  generated = {};
  summaries.clear();
  decode_reads = {};
  next_position += static_cast<Position>(n_token);
}

ProductChoice Engine::State::product_choice() const {
  switch (options.products) {
    case ProductMode::kAuto: return ProductChoice::kAuto;
    case ProductMode::kQuantised: return ProductChoice::kQuantised;
    case ProductMode::kF32: return ProductChoice::kF32;
  }
  return ProductChoice::kAuto;
}

Result<void> check_logits(View2<const float> logits) {
  bool all_numbers = true;
  for (std::size_t i = 0; i < logits.rows; ++i) {
    for (const float logit : logits.row(i)) all_numbers &= !(logit != logit);
  }
  if (all_numbers) return {};
  return Error{ErrorCode::kCorrupt,
               "the model computes values that are no numbers (NaN): its weights are damaged"};
}

CacheShape Engine::State::cache_shape(const Variant& variant) const {
  const ModelConfig& config = model->config();
  CacheShape shape{.n_layer = config.n_layer,
                   .n_kv_head = config.n_kv_head,
                   .head_dim = config.head_dim,
                   .type_k = variant.options().type_k,
                   .type_v = variant.options().type_v,
                   .with_column_sums = variant.has_column(),
                   .sets = variant.sets(config.group()),
                   .sliding_window = {}};
  for (const LayerConfig& layer : config.layers)
    shape.sliding_window.push_back(layer.sliding_window);
  return shape;
}

QueryRing Engine::State::query_ring(const Variant& variant) const {
  if (!variant.options().schedule.acts_in_decode() || variant.newest_query_only() ||
      !has(variant.needs(), Needs::kWindowQueries)) {
    return {};
  }
  const ModelConfig& config = model->config();
  return QueryRing({.n_layer = static_cast<std::size_t>(config.n_layer),
                    .n_head = static_cast<std::size_t>(config.n_head),
                    .head_dim = static_cast<std::size_t>(config.head_dim),
                    .window = variant.window()});
}

PassProducts Engine::State::products(PassProducts::Phase phase, std::size_t n_token) const {
  return {.phase = phase, .choice = product_choice(), .n_token = n_token};
}

Pass Engine::State::pass(PassProducts::Phase phase, std::size_t n_token) {
  return {.kernels = *kernels,
          .threads = threads,
          .products = products(phase, n_token),
          .buffers = buffers};
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::load(const EngineOptions& options) try {
  if (options.chunk == 0) return invalid("the batch size must be at least 1");
  if (options.n_threads > kMostThreads) {
    return invalid(std::to_string(options.n_threads) + " threads are more than " +
                   std::to_string(kMostThreads));
  }
  if (options.hidden_type != KvType::kF32 && options.hidden_type != KvType::kBf16) {
    return invalid("hidden states are kept in f32 or bf16");
  }
  auto state = std::make_unique<State>();
  state->options = options;
  state->threads = Threads(options.n_threads);
  RESTKV_ASSIGN(state->kernels, table_by_name(options.kernels));
  const GgufOpenOptions open{.access = options.weights == WeightAccess::kMap
                                           ? GgufOpenOptions::Access::kMap
                                           : GgufOpenOptions::Access::kRead};
  RESTKV_ASSIGN(auto file, GgufFile::open(options.model_path, open));
  RESTKV_TRY(check_vocabulary_keys(*file));
  RESTKV_ASSIGN(state->model, Model::load(file, options.rope));
  if (options.products == ProductMode::kAuto && options.order == WeightOrder::kPack) {
    RESTKV_TRY(state->model->pack(state->threads, *state->kernels));
  }
  state->info = state->model->info();
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
} catch (const std::bad_alloc&) {
  return no_memory_for("the model " + options.model_path);
}

const ModelInfo& Engine::model() const { return state_->info; }
int Engine::threads() const { return state_->threads.count(); }
std::string_view Engine::kernels() const { return state_->kernels->name; }
std::string Engine::prefill_products(std::size_t n_token) const {
  return state_->model->product_names(state_->products(PassProducts::Phase::kPrefill, n_token));
}
std::string Engine::decode_products() const {
  return state_->model->product_names(state_->products(PassProducts::Phase::kDecode, 1));
}
std::size_t Engine::cache_bytes() const { return state_->counter->now(); }
std::size_t Engine::cache_bytes_peak() const { return state_->counter->peak(); }
void Engine::reset_cache_peak() { state_->counter->reset_peak(); }
std::size_t Engine::shareable_tokens(std::size_t tokens) const {
  return state_->shareable_tokens(tokens);
}
const PrefillTimings& Engine::last_prefill() const { return state_->last_prefill; }

Result<std::vector<Sequence>> Engine::prefill(std::span<const Token> tokens,
                                              std::span<const KvOptions> variants,
                                              const PrefillOptions& options,
                                              std::vector<float>& last_logits) try {
  RESTKV_TRY(check_tokens(state_->info, tokens));
  if (variants.empty()) return invalid("there is no cache to fill");
  RESTKV_TRY(check_types(state_->info, variants));
  RESTKV_TRY(check_decode_options(state_->info, variants));
  std::vector<std::shared_ptr<const Variant>> made;
  for (const KvOptions& variant : variants) {
    RESTKV_ASSIGN(auto one, Variant::make(variant));
    RESTKV_TRY(one->check_model(state_->info.sliding_windows));
    RESTKV_TRY(check_combination(variant, options.attention));
    made.push_back(std::move(one));
  }
  RESTKV_TRY(check_prefix(*state_, tokens, options.prefix));
  std::vector<Sequence> sequences;
  if (any_in_pieces(made)) {
    if (made.size() > 1) {
      return invalid("a prefill in pieces depends on what is dropped and cannot be shared by " +
                     std::to_string(made.size()) + " variants");
    }
    const Sequence::State empty{
        .variant = made.front(),
        .cache = KvCache(state_->cache_shape(*made.front()), state_->counter),
        .next_position = 0,
        .report = {}};
    RESTKV_ASSIGN(auto read, read_in_pieces(*state_, empty, tokens, options, last_logits));
    sequences.push_back(Sequence(std::make_unique<Sequence::State>(std::move(read))));
    return sequences;
  }
  RESTKV_ASSIGN(PrefillOutcome outcome, run_prefill(*state_,
                                                    {.tokens = tokens,
                                                     .first_position = 0,
                                                     .base = nullptr,
                                                     .base_queries = nullptr,
                                                     .base_cursors = nullptr,
                                                     .variants = made,
                                                     .options = &options},
                                                    last_logits));
  for (std::size_t i = 0; i < made.size(); ++i) {
    sequences.push_back(Sequence(std::make_unique<Sequence::State>(
        Sequence::State{.variant = made[i],
                        .cache = std::move(outcome.caches[i]),
                        .next_position = static_cast<Position>(tokens.size()),
                        .report = std::move(outcome.reports[i]),
                        .queries = std::move(outcome.queries[i]),
                        .cursors = std::move(outcome.cursors[i])})));
  }
  return sequences;
} catch (const std::bad_alloc&) {
  return no_memory_for("a prompt of " + std::to_string(tokens.size()) + " tokens");
}

Result<Sequence> Engine::synthetic_sequence(std::size_t n_token, const KvOptions& variant) try {
  RESTKV_TRY(check_types(state_->info, {&variant, 1}));
  RESTKV_TRY(check_decode_options(state_->info, {&variant, 1}));
  RESTKV_ASSIGN(auto made, Variant::make(variant));
  RESTKV_TRY(made->check_model(state_->info.sliding_windows));
  if (state_->cache_shape(*made).sets > 1) {
    return invalid("a made-up cache has one set of rows for each KV head (use kv-head)");
  }
  RESTKV_ASSIGN(auto sequence, make_synthetic_sequence(*state_, std::move(made), n_token));
  return Sequence(std::make_unique<Sequence::State>(std::move(sequence)));
} catch (const std::bad_alloc&) {
  return no_memory_for("a made-up cache of " + std::to_string(n_token) + " tokens");
}

Result<void> Engine::extend(Sequence& sequence, std::span<const Token> tokens,
                            const PrefillOptions& options, std::vector<float>& last_logits) try {
  RESTKV_TRY(check_tokens(state_->info, tokens));
  Sequence::State& target = *sequence.state_;
  RESTKV_TRY(check_combination(target.variant->options(), options.attention));
  if (target.variant->options().schedule.kind == Schedule::Kind::kChunk) {
    RESTKV_ASSIGN(target, read_in_pieces(*state_, target, tokens, options, last_logits));
    return {};
  }
  RESTKV_ASSIGN(PrefillOutcome outcome, run_prefill(*state_,
                                                    {.tokens = tokens,
                                                     .first_position = target.next_position,
                                                     .base = &target.cache,
                                                     .base_queries = &target.queries,
                                                     .base_cursors = &target.cursors,
                                                     .variants = {&target.variant, 1},
                                                     .options = &options},
                                                    last_logits));
  target.take(outcome, 0, tokens.size());
  return {};
} catch (const std::bad_alloc&) {
  return no_memory_for("a turn of " + std::to_string(tokens.size()) + " tokens");
}

void Engine::end_prompt_here(Sequence& sequence) const {
  Sequence::State& target = *sequence.state_;
  const KvReport before = sequence.report();
  KvReport now = row_report(state_->model->config(), *target.variant,
                            {.rows = before.budget_rows, .raised = before.budget_raised},
                            target.cache, static_cast<std::size_t>(target.next_position));
  now.bytes_peak = now.bytes;
  now.add_earlier(before);
  target.report = std::move(now);
  target.decode_reads = {};
}

Result<void> Engine::decode(std::span<Sequence* const> sequences, std::span<const Token> tokens,
                            View2<float> logits) try {
  RESTKV_TRY(check_tokens(state_->info, tokens));
  RESTKV_CHECK(sequences.size() == tokens.size() && logits.rows == tokens.size());
  std::vector<Sequence::State*> states;
  for (Sequence* sequence : sequences) states.push_back(sequence->state_.get());
  return run_decode(*state_, states, tokens, logits);
} catch (const std::bad_alloc&) {
  return no_memory_for("a decode step");
}

}  // namespace restkv
