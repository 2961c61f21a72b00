#include "eval/item_runner.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

#include "base/check.h"
#include "eval/scorers/scorer.h"
#include "text/utf8_stream.h"

namespace restkv {
namespace {

// The prompt's tokens as digits: how many of all heads that keep rows of their own hold each.
std::string kept_digits(const Sequence& sequence, std::size_t n_token) {
  std::vector<std::size_t> held(n_token);
  std::size_t heads = 0;
  for (const auto& layer : sequence.kept_positions()) {
    for (const auto& head : layer) {
      ++heads;
      for (const Position position : head) ++held[static_cast<std::size_t>(position)];
    }
  }
  RESTKV_CHECK(heads > 0);
  std::string digits;
  for (const std::size_t count : held) {
    digits += static_cast<char>('0' + (count * 9 + heads - 1) / heads);
  }
  return digits;
}

// What was in force, as the column `options` has it.
std::string options_text(const KvReport& report, const EvalVariant& variant) {
  std::string text;
  const auto add = [&text](const std::string& name, const std::string& value) {
    text += (text.empty() ? "" : " ") + name + "=" + value;
  };
  for (const auto& [name, value] : report.options) add(name, value);
  for (const auto& [name, value] : report.prefill.options) add("prefill." + name, value);
  if (!report.prefill.dense_because.empty()) add("prefill.read", "dense");
  for (const auto& [name, value] : report.decode.options) add("decode." + name, value);
  if (report.decode.table.empty()) return text;
  add("decode.table", variant.decode_table);
  if (!report.decode.table_mean.empty()) {
    add("decode.table_mean", report.decode.table_mean);
    add("decode.table_mean_rows", std::to_string(report.decode.table_mean_rows));
  }
  if (!report.decode.table_texts.empty()) {
    std::string texts = report.decode.table_texts;  // a value has no blanks
    std::ranges::replace(texts, ' ', '_');
    add("decode.table_texts", texts);
  }
  return text;
}

void set_cache(const EvalItem& item, const EvalVariant& variant, const Sequence& sequence,
               const KvReport& report, EvalRow& row) {
  row.options = options_text(report, variant);
  row.prompt_tokens = static_cast<std::int64_t>(report.prompt_tokens);
  row.kept_tokens = report.kept_tokens_mean;
  row.bytes = static_cast<std::int64_t>(report.bytes);
  row.bytes_full = static_cast<std::int64_t>(report.bytes_full);
  row.bytes_peak = static_cast<std::int64_t>(report.bytes_peak);
  row.compress_ms = report.compress_ms;
  if (item.marked && !report.untouched) row.kept = kept_digits(sequence, item.tokens.size());
}

}  // namespace

ItemRunner::ItemRunner(const EvalModel& model, std::span<const EvalVariant> variants,
                       const EvalSettings& settings, const std::atomic<bool>* cancel,
                       const ChineseWords* words, std::function<void(std::size_t)> on_tokens)
    : model_(model),
      variants_(variants),
      settings_(settings),
      cancel_(cancel),
      words_(words),
      on_tokens_(std::move(on_tokens)) {}

Result<ItemRows> ItemRunner::run(const EvalItem& item) {
  if (item.group != group_) beginnings_.clear();
  group_ = item.group;
  counts_ = {};
  ItemRows out;
  for (const std::vector<std::size_t>& group : groups_of(item)) {
    RESTKV_TRY(run_group(item, group, out));
  }
  out.prefix = counts_;
  if (item.marked) {
    EvalPrompt& prompt = out.prompt.emplace(EvalPrompt{.hash = item.hash, .pieces = {}});
    for (const Token token : item.tokens) {
      prompt.pieces.push_back(model_.vocabulary->piece(token, ControlTokens::kShow));
    }
    prompt.pieces = with_whole_characters(prompt.pieces);
  }
  return out;
}

// One prefill for all that are read alike. Caches in f32 cannot share one with others, nor can
// different patterns, nor those that have read more of the prompt before rows go with those that
// have read less; a prefill in pieces is a variant's own. A pattern reads the queries of the
// largest window densely, so a variant with a larger one than usual would change what the others
// get.
std::vector<std::vector<std::size_t>> ItemRunner::groups_of(const EvalItem& item) const {
  std::map<std::tuple<bool, ReadFirst, std::size_t, std::string, int>, std::vector<std::size_t>>
      groups;
  for (const std::size_t v : item.variants) {
    const EvalVariant& variant = variants_[v];
    const KvOptions kv = options_of(variant);
    const bool wide = working_type(kv.type_k, kv.type_v) == KvType::kF32;
    const bool alone = kv.schedule.kind == Schedule::Kind::kChunk;
    const bool is_dense = prefill_attention_of(variant).pattern == "dense";
    groups[{wide, read_first(variant), alone ? v + 1 : 0, variant.prefill,
            is_dense ? 0 : kv.window}]
        .push_back(v);
  }
  std::vector<std::vector<std::size_t>> list;
  for (auto& [_, group] : groups) list.push_back(std::move(group));
  return list;
}

Result<void> ItemRunner::run_group(const EvalItem& item, std::span<const std::size_t> group,
                                   ItemRows& out) {
  std::vector<EvalRow>& rows = out.rows;
  std::vector<KvOptions> options;
  for (const std::size_t v : group) {
    options.push_back(options_for_suite(variants_[v], suite_of(*item.task)));
  }
  const EvalVariant& reader = variants_[group.front()];
  const PrefillAttention attention = prefill_attention_of(reader);
  const ReadFirst reads = read_first(reader);
  RESTKV_ASSIGN(Reading reading, reads == ReadFirst::kAll
                                     ? read_once(item, options, attention)
                                     : read_twice(item, reads, options, attention));
  const std::size_t first = rows.size();
  for (std::size_t i = 0; i < group.size(); ++i) {
    rows.push_back(row_of(item, variants_[group[i]]));
    set_cache(item, variants_[group[i]], reading.sequences[i], reading.reports[i], rows.back());
    rows.back().prefill_ms = reading.prefill_ms[i];
    rows.back().batch = static_cast<std::int64_t>(group.size());
  }
  const std::size_t n_row = reads == ReadFirst::kAll ? 1 : group.size();
  std::optional<Token> end_token;
  if (!item.sample.end_token.empty()) {
    RESTKV_ASSIGN(
        const std::vector<Token> tokens,
        model_.vocabulary->tokenize(item.sample.end_token, {.start = TextStart::kContinues}));
    if (!tokens.empty()) end_token = tokens.back();
  }
  RESTKV_ASSIGN(const std::vector<Answer> answers,
                decode_answers(model_.engine, *model_.vocabulary, reading.sequences,
                               {reading.logits.data(), n_row, reading.logits.size() / n_row},
                               {.stops = item.sample.stops,
                                .end_token = end_token,
                                .min_new_tokens = item.sample.min_new_tokens,
                                .max_new_tokens = item.sample.max_new_tokens,
                                .context = settings_.context,
                                .cancel = cancel_}));
  for (std::size_t i = 0; i < group.size(); ++i) {
    RESTKV_TRY(set_answer(item, answers[i], rows[first + i]));
    const DecodeReport decode = reading.sequences[i].report().decode;
    rows[first + i].rows_read = decode.rows_read_mean;
    rows[first + i].rows_held = decode.rows_held_mean;
    rows[first + i].summary_bytes = static_cast<std::int64_t>(decode.summary_bytes);
  }
  return {};
}

// What the items of the group in hand begin with; null when they share nothing. Each way of reading
// has its own, so that none has to be read again because of what the other's policies need.
SharedPrefix* ItemRunner::beginning_of(const EvalItem& item, std::span<const KvOptions> options,
                                       ReadFirst reads) {
  const std::size_t tokens = item.prefix_tokens;
  if (tokens == 0) return nullptr;
  if (reads != ReadFirst::kAll && item.first_tokens.at(reads) < tokens) return nullptr;
  const KvOptions& first = options.front();
  const bool wide = working_type(first.type_k, first.type_v) == KvType::kF32;
  return &beginnings_.try_emplace(std::pair(wide, reads), std::span(item.tokens).first(tokens))
              .first->second;
}

void ItemRunner::count_prefill(std::size_t tokens) {
  const PrefillTimings& timings = model_.engine.last_prefill();
  counts_.tokens += tokens;
  counts_.shared_tokens += timings.prefix_tokens;
  if (timings.prefix_tokens > 0) counts_.shared_ms += timings.prefix_ms;
}

PrefillOptions ItemRunner::watched(std::size_t before, const PrefillAttention& attention) const {
  PrefillOptions prefill;
  prefill.attention = attention;
  prefill.cancel = cancel_;
  prefill.on_progress = [this, before](const PrefillProgress& now) {
    on_tokens_(before + now.tokens_done);
  };
  return prefill;
}

double ItemRunner::prefill_ms() const {
  const PrefillTimings& timings = model_.engine.last_prefill();
  return timings.total_ms - timings.compress_ms;
}

Result<ItemRunner::Reading> ItemRunner::read_once(const EvalItem& item,
                                                  std::span<const KvOptions> options,
                                                  const PrefillAttention& attention) {
  Reading reading;
  PrefillOptions prefill = watched(0, attention);
  prefill.prefix = beginning_of(item, options, ReadFirst::kAll);
  RESTKV_ASSIGN(reading.sequences,
                model_.engine.prefill(item.tokens, options, prefill, reading.logits));
  count_prefill(item.tokens.size());
  for (const Sequence& sequence : reading.sequences) {
    reading.reports.push_back(sequence.report());
    reading.prefill_ms.push_back(prefill_ms());
  }
  return reading;
}

// What is read first for all, then the others on top of what each has left of it: the template's
// end as if it had been written, so that no window sees it; a question as a turn of its own, after
// which the budget holds again.
Result<ItemRunner::Reading> ItemRunner::read_twice(const EvalItem& item, ReadFirst reads,
                                                   std::span<const KvOptions> options,
                                                   const PrefillAttention& attention) {
  Reading reading;
  const std::span<const Token> tokens(item.tokens);
  const std::size_t first = item.first_tokens.at(reads);
  std::vector<float> last;
  PrefillOptions prefill = watched(0, attention);
  prefill.prefix = beginning_of(item, options, reads);
  RESTKV_ASSIGN(reading.sequences,
                model_.engine.prefill(tokens.first(first), options, prefill, last));
  count_prefill(first);
  const double first_ms = prefill_ms();
  if (reads == ReadFirst::kQuestion) {
    RESTKV_TRY(write_tail(tokens.subspan(first), first_ms, reading));
    return reading;
  }
  for (Sequence& sequence : reading.sequences) {
    const KvReport earlier = sequence.report();
    RESTKV_TRY(
        model_.engine.extend(sequence, tokens.subspan(first), watched(first, attention), last));
    KvReport& report = reading.reports.emplace_back(sequence.report());
    report.add_earlier(earlier);
    reading.prefill_ms.push_back(first_ms + prefill_ms());
    reading.logits.insert(reading.logits.end(), last.begin(), last.end());
  }
  return reading;
}

Result<void> ItemRunner::write_tail(std::span<const Token> tail, double first_ms,
                                    Reading& reading) {
  const std::size_t n = reading.sequences.size();
  const auto n_vocab = static_cast<std::size_t>(model_.engine.model().n_vocab);
  std::vector<Sequence*> sequences;
  for (Sequence& sequence : reading.sequences) sequences.push_back(&sequence);
  reading.logits.resize(n * n_vocab);
  const auto start = std::chrono::steady_clock::now();
  for (const Token token : tail) {
    if (cancel_ != nullptr && cancel_->load()) {
      return Error{ErrorCode::kCancelled, "interrupted while reading the prompt"};
    }
    RESTKV_TRY(model_.engine.decode(sequences, std::vector<Token>(n, token),
                                    {reading.logits.data(), n, n_vocab}));
  }
  const std::chrono::duration<double, std::milli> tail_ms =
      std::chrono::steady_clock::now() - start;
  for (Sequence& sequence : reading.sequences) {
    model_.engine.end_prompt_here(sequence);
    reading.reports.push_back(sequence.report());
  }
  reading.prefill_ms.assign(n, first_ms + tail_ms.count());
  return {};
}

EvalRow ItemRunner::row_of(const EvalItem& item, const EvalVariant& variant) const {
  EvalRow row = row_key(item, settings_);
  const nlohmann::ordered_json json = variant_json(variant);
  row.variant_json = json.dump();
  row.model = settings_.model;
  row.suite = suite_of(*item.task);
  row.category = item.task->category;
  row.metric = item.sample.metric;
  row.wording = item.sample.wording;
  row.source = item.sample.source;
  row.prompt_hash = item.hash;
  row.depth = item.sample.depth.value_or(-1);
  row.variant = variant_label(variant);
  row.policy = variant.kv.policy;
  row.budget = json["budget"].is_string() ? json["budget"].get<std::string>() : "";
  row.allocator = json["allocator"].is_string() ? json["allocator"].get<std::string>() : "";
  row.schedule = json["schedule"].get<std::string>();
  row.granularity = json["granularity"].get<std::string>();
  row.mode = json["mode"].get<std::string>();
  row.prefill = variant.prefill;
  row.decode_attn = variant.decode_attention;
  row.decode_budget =
      variant.decode_attention == "dense" ? "100%" : json["decode_budget"].get<std::string>();
  row.answers =
      nlohmann::json(item.sample.answers)
          .dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  row.version = settings_.version;
  row.kernels = model_.engine.kernels();
  row.settings = settings_.settings;
  return row;
}

Result<void> ItemRunner::set_answer(const EvalItem& item, const Answer& answer,
                                    EvalRow& row) const {
  const std::string_view scored = item.sample.scored == AnswerPart::kFirstLine
                                      ? first_answer_line(answer.text)
                                      : std::string_view(answer.text);
  const auto result = score(*item.scorer, {.prediction = scored,
                                           .answers = item.sample.answers,
                                           .classes = item.sample.classes,
                                           .chinese_words = words_});
  if (!result.ok()) {
    return Error{result.error().code, std::string(item.task->name) + ", sample " + item.sample.id +
                                          ": " + result.error().message};
  }
  row.prediction = answer.text;
  row.score = result->value;
  row.answered = result->answered ? 1 : 0;
  row.stop = answer_end_name(answer.end);
  row.truncated = answer.end == AnswerEnd::kLimit || answer.end == AnswerEnd::kContext ? 1 : 0;
  row.looping = answer.looping ? 1 : 0;
  row.generated_tokens = static_cast<std::int64_t>(answer.tokens);
  row.decode_ms = answer.decode_ms;
  return {};
}

}  // namespace restkv
