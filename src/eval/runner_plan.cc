#include "eval/runner_plan.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "eval/prefix_groups.h"
#include "eval/truncate.h"

namespace restkv {
namespace {

class Planner {
 public:
  Planner(const EvalModel& model, std::span<const EvalVariant> variants,
          const EvalSettings& settings, const EvalWatch& watch, const ResultStore& store)
      : model_(model), variants_(variants), settings_(settings), watch_(watch), store_(store) {
    for (const EvalVariant& variant : variants) names_.push_back(variant_json(variant).dump());
  }

  Result<EvalPlan> plan(std::span<const TaskInfo* const> tasks) {
    RESTKV_TRY(prepare());
    plan_.identity = settings_.fingerprint + " " + settings_.version;
    // Other kernels may round otherwise.
    plan_.identity.append(" ").append(model_.engine.kernels());
    for (const std::string& name : names_) plan_.identity += " " + name;
    std::optional<Error> missing;
    for (const TaskInfo* task : tasks) {
      if (watch_.cancel != nullptr && watch_.cancel->load()) {
        return Error{ErrorCode::kCancelled,
                     "interrupted; the same command goes on where it stopped"};
      }
      const auto added = add_task(*task);
      if (added.ok()) continue;
      if (added.error().code != ErrorCode::kNotFound) return added.error();
      if (!missing) missing = added.error();
      plan_.outcome.skipped.emplace_back(task->name);
      if (watch_.on_note) {
        watch_.on_note("skipped " + std::string(task->name) + ": " + added.error().message);
      }
    }
    if (plan_.outcome.skipped.size() == tasks.size()) return *missing;
    if (unmarked_ > 0 && watch_.on_note) {
      watch_.on_note(std::to_string(unmarked_) +
                     " samples have rows from before that do not say what was kept of the text; "
                     "marks are stored with rows that are made now");
    }
    if (settings_.prefixes == PrefixReuse::kOn) find_prefixes();
    return std::move(plan_);
  }

 private:
  // The template, the tokenizer, and what a template adds to a prompt.
  Result<void> prepare() {
    request_ = settings_.request;
    const auto vocabulary = model_.vocabulary;
    request_.tokenizer.tokenize = [vocabulary](std::string_view text) {
      auto tokens = vocabulary->tokenize(text, {.start = TextStart::kContinues});
      return tokens.ok() ? std::move(tokens).value() : std::vector<Token>();
    };
    request_.tokenizer.detokenize = [vocabulary](std::span<const Token> tokens) {
      return vocabulary->detokenize(tokens);
    };
    request_.template_tokens = 1;
    if (settings_.form == PromptForm::kPlain) return {};
    auto chat = ChatTemplate::make(model_.vocabulary, settings_.chat_template);
    if (!chat.ok()) {
      // Only tasks that want the template miss it.
      no_chat_ = chat.error();
      return {};
    }
    chat_ = std::move(chat).value();
    const Message message{.role = Role::kUser, .content = "x"};
    RESTKV_ASSIGN(const Prompt prompt, chat_->render({&message, 1}));
    request_.template_tokens = prompt.tokens.size();
    return {};
  }

  Result<void> add_task(const TaskInfo& task) {
    RESTKV_ASSIGN(std::vector<TaskSample> samples, make_samples(task, request_));
    std::map<std::size_t, std::size_t> seen;  // samples of each length
    for (TaskSample& sample : samples) {
      const bool marked = seen[sample.length]++ < settings_.marked_samples;
      RESTKV_TRY(add_sample(task, std::move(sample), marked));
    }
    return {};
  }

  Result<void> add_sample(const TaskInfo& task, TaskSample sample, bool marked) {
    EvalItem item;
    item.task = &task;
    item.number = samples_++;
    item.marked = marked;
    RESTKV_ASSIGN(item.scorer, find_scorer(sample.metric));
    if (item.scorer->needs_chinese_words && !plan_.chinese_words) {
      RESTKV_ASSIGN(plan_.chinese_words, ChineseWords::load(settings_.chinese_words));
    }
    RESTKV_TRY(fit(task, sample));
    item.sample = std::move(sample);
    RESTKV_ASSIGN(item.tokens, tokens_of(item.sample));
    if (item.tokens.size() + item.sample.max_new_tokens > settings_.context) {
      return too_long(task, item.tokens.size() + item.sample.max_new_tokens);
    }
    item.hash = hash_of(item.tokens);
    RESTKV_TRY(find_missing(item));
    for (const std::size_t v : item.variants) {
      RESTKV_TRY(find_first_tokens(item, read_first(variants_[v])));
    }
    if (!item.variants.empty()) plan_.items.push_back(std::move(item));
    return {};
  }

  [[nodiscard]] Error too_long(const TaskInfo& task, std::size_t tokens) const {
    return {ErrorCode::kInvalidArgument,
            std::string(task.name) + " needs " + std::to_string(tokens) +
                " tokens with its answer, and the context has " +
                std::to_string(settings_.context) + "; a longer one needs -c"};
  }

  // A prompt from a file may be longer than the model reads: cut as if its length had been asked.
  // It stays a sample without a length beside those that were not cut; another context makes
  // another prompt of it.
  Result<void> fit(const TaskInfo& task, TaskSample& sample) const {
    if (sample.tokens <= settings_.context) return {};
    if (sample.length != 0) return too_long(task, sample.tokens);
    RESTKV_TRY(fit_to_length(sample, settings_.context, request_));
    sample.length = 0;
    return {};
  }

  Result<std::vector<Token>> tokens_of(const TaskSample& sample) const {
    const bool wrapped = sample.wrap == Wrap::kChat && settings_.form == PromptForm::kByTask;
    if (wrapped && !chat_) return *no_chat_;
    return prompt_tokens(sample, *model_.vocabulary, wrapped ? &*chat_ : nullptr);
  }

  [[nodiscard]] std::string hash_of(std::span<const Token> tokens) const {
    Hash hash;
    hash.add(std::string_view(settings_.settings));
    for (const Token token : tokens) hash.add(token);
    return hash.text();
  }

  Result<void> find_missing(EvalItem& item) {
    RESTKV_ASSIGN(const auto finished, store_.finished(row_key(item, settings_)));
    for (const auto& [variant, hash] : finished) {
      if (hash == item.hash) continue;
      return Error{
          ErrorCode::kInvalidArgument,
          "the results of " + std::string(item.task->name) + ", sample " + item.sample.id +
              " come from another prompt or other settings; another --db keeps them apart"};
    }
    for (std::size_t v = 0; v < names_.size(); ++v) {
      if (finished.contains(names_[v])) {
        ++plan_.outcome.found;
      } else {
        item.variants.push_back(v);
      }
    }
    if (item.marked && !finished.empty()) {
      RESTKV_ASSIGN(const bool has_marks, store_.has_prompt(item.hash));
      if (!has_marks) ++unmarked_;
    }
    return {};
  }

  Result<void> find_first_tokens(EvalItem& item, ReadFirst first) const {
    if (first == ReadFirst::kAll || item.first_tokens.contains(first)) return {};
    RESTKV_ASSIGN(const std::size_t tokens,
                  first == ReadFirst::kText ? text_tokens(item) : question_tokens(item));
    item.first_tokens[first] = tokens;
    const bool is_part = tokens > 0 && tokens < item.tokens.size();
    if (is_part && (first == ReadFirst::kQuestion || !item.sample.context.empty())) return {};
    return Error{ErrorCode::kInvalidArgument,
                 std::string(item.task->name) + ", sample " + item.sample.id +
                     (first == ReadFirst::kText
                          ? ", has no text before its question: mode agnostic cannot be asked of it"
                          : ", ends with its question: mode before-tail cannot be asked of it")};
  }

  Result<std::size_t> text_tokens(const EvalItem& item) const {
    TaskSample text = item.sample;
    text.question.clear();
    text.answer_prefix.clear();
    RESTKV_ASSIGN(const std::vector<Token> tokens, tokens_of(text));
    return static_cast<std::size_t>(std::ranges::mismatch(item.tokens, tokens).in1 -
                                    item.tokens.begin());
  }

  // Two questions of a letter, because the sample's own may end with one of them.
  Result<std::size_t> question_tokens(const EvalItem& item) const {
    std::size_t tail = item.tokens.size();
    for (const char* question : {"x", "y"}) {
      TaskSample other = item.sample;
      other.context.clear();
      other.question = question;
      RESTKV_ASSIGN(const std::vector<Token> tokens, tokens_of(other));
      const auto apart =
          std::mismatch(item.tokens.rbegin(), item.tokens.rend(), tokens.rbegin(), tokens.rend());
      tail = std::min(tail, static_cast<std::size_t>(apart.first - item.tokens.rbegin()));
    }
    return item.tokens.size() - tail;
  }

  void find_prefixes() {
    std::vector<std::span<const Token>> prompts;
    for (const EvalItem& item : plan_.items) prompts.emplace_back(item.tokens);
    const auto groups = prefix_groups(
        prompts, [&](std::size_t tokens) { return model_.engine.shareable_tokens(tokens); });
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (std::size_t i = 0; i < groups[g].count; ++i) {
        EvalItem& item = plan_.items[groups[g].first + i];
        item.group = g;
        item.prefix_tokens = groups[g].tokens;
      }
    }
  }

  const EvalModel& model_;
  std::span<const EvalVariant> variants_;
  const EvalSettings& settings_;
  const EvalWatch& watch_;
  const ResultStore& store_;
  std::vector<std::string> names_;  // variant_json of each, as text
  TaskRequest request_;
  std::optional<ChatTemplate> chat_;
  std::optional<Error> no_chat_;
  std::size_t samples_ = 0;
  std::size_t unmarked_ = 0;  // samples whose rows came without marks that are wanted now
  EvalPlan plan_;
};

}  // namespace

std::string_view suite_of(const TaskInfo& task) { return task.name.substr(0, task.name.find('/')); }

EvalRow row_key(const EvalItem& item, const EvalSettings& settings) {
  EvalRow row;
  row.fingerprint = settings.fingerprint;
  row.task = item.task->name;
  row.length = static_cast<std::int64_t>(item.sample.length);
  row.sample = item.sample.id;
  row.seed = static_cast<std::int64_t>(settings.request.seed);
  return row;
}

Result<std::vector<Token>> prompt_tokens(const TaskSample& sample, const Vocabulary& vocabulary,
                                         const ChatTemplate* chat) {
  if (chat == nullptr) return vocabulary.tokenize(sample.prompt(), {.bos = Bos::kByModel});
  const Message message{.role = Role::kUser, .content = sample.context + sample.question};
  RESTKV_ASSIGN(Prompt prompt, chat->render({&message, 1}));
  RESTKV_ASSIGN(const std::vector<Token> prefix,
                vocabulary.tokenize(sample.answer_prefix, {.start = TextStart::kContinues}));
  prompt.tokens.insert(prompt.tokens.end(), prefix.begin(), prefix.end());
  return std::move(prompt.tokens);
}

Result<EvalPlan> plan_evaluation(const EvalModel& model, std::span<const TaskInfo* const> tasks,
                                 std::span<const EvalVariant> variants,
                                 const EvalSettings& settings, const EvalWatch& watch,
                                 const ResultStore& store) {
  return Planner(model, variants, settings, watch, store).plan(tasks);
}

}  // namespace restkv
