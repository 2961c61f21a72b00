// A run of several tasks of which one cannot be done: it is skipped by name, the others are run.
// And how much of a prompt is read before rows go.

#include "eval/runner.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "eval/runner_plan.h"
#include "eval/samples.h"
#include "support/process_folder.h"
#include "support/tiny_llama.h"

namespace restkv {
namespace {

class Runner : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = process_file("tiny.gguf");
    ASSERT_TRUE(tiny_llama().file().write(path).ok());
    EngineOptions options;
    options.model_path = path;
    options.n_threads = 1;
    auto engine = Engine::load(options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
    auto vocabulary = Vocabulary::load(path);
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message;
    vocabulary_ = std::move(vocabulary).value();
    settings_.fingerprint = "f";
    settings_.form = PromptForm::kPlain;
    settings_.context = kTinyContext;
    settings_.request.samples = 1;
    settings_.request.lengths = {1024};
    settings_.request.data_dir = process_file("data");
    write(
        "longbench/config/dataset2prompt.json",
        R"({"qasper": "Read {context} and say {input}", "multifieldqa_zh": "{context} {input}"})");
    write("longbench/config/dataset2maxlen.json", R"({"qasper": 4, "multifieldqa_zh": 4})");
    for (const char* set : {"qasper", "multifieldqa_zh"}) {
      write("longbench/" + std::string(set) + ".jsonl",
            R"({"context": "the quick brown fox", "input": "who", "answers": ["fox"]})");
    }
  }
  void TearDown() override { std::filesystem::remove_all(process_folder() / "data"); }

  static void write(const std::string& file, std::string_view text) {
    const std::filesystem::path path = process_folder() / "data" / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text << "\n";
  }

  // Tasks of the rows that are there afterwards, in the order of the key.
  std::vector<std::string> run(const std::vector<std::string>& names) {
    auto store = ResultStore::open_or_make(":memory:");
    EXPECT_TRUE(store.ok());
    const auto tasks = select_tasks(names);
    EXPECT_TRUE(tasks.ok());
    EvalVariant full;
    full.kv.policy = "full";
    EvalWatch watch;
    watch.on_note = [this](const std::string& note) { notes_.push_back(note); };
    outcome_ =
        run_evaluation({*engine_, vocabulary_}, *tasks, {&full, 1}, settings_, watch, *store);
    std::vector<std::string> done;
    const auto rows = store->rows();
    EXPECT_TRUE(rows.ok());
    for (const EvalRow& row : *rows) done.push_back(row.task);
    return done;
  }

  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  EvalSettings settings_;
  std::vector<std::string> notes_;
  Result<EvalOutcome> outcome_ = EvalOutcome{};
};

using Names = std::vector<std::string>;

TEST_F(Runner, SkipsChineseSetsWithoutTheirWords) {
  settings_.chinese_words = process_file("no_such_folder");
  EXPECT_EQ(run({"longbench/multifieldqa_zh", "longbench/qasper"}), Names{"longbench/qasper"});
  ASSERT_TRUE(outcome_.ok()) << outcome_.error().message;
  EXPECT_EQ(outcome_->skipped, Names{"longbench/multifieldqa_zh"});
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_TRUE(notes_[0].starts_with("skipped longbench/multifieldqa_zh: ")) << notes_[0];
  EXPECT_NE(notes_[0].find("no_such_folder/dict.txt"), std::string::npos) << notes_[0];
  EXPECT_NE(notes_[0].find("python3-jieba"), std::string::npos) << notes_[0];
}

TEST_F(Runner, SkipsTasksWithoutTheirData) {
  EXPECT_EQ(run({"gsm8k/zero-shot", "longbench/qasper", "ruler/niah_single_1"}),
            (Names{"longbench/qasper", "ruler/niah_single_1"}));
  ASSERT_TRUE(outcome_.ok()) << outcome_.error().message;
  EXPECT_EQ(outcome_->skipped, Names{"gsm8k/zero-shot"});
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_TRUE(notes_[0].starts_with("skipped gsm8k/zero-shot: ")) << notes_[0];
  EXPECT_NE(notes_[0].find("gsm8k/test.jsonl"), std::string::npos) << notes_[0];
}

// With nothing left to do what is missing is the error, the first of it.
TEST_F(Runner, NothingButSkippedTasksIsAnError) {
  settings_.chinese_words = process_file("no_such_folder");
  EXPECT_EQ(run({"longbench/multifieldqa_zh", "gsm8k/zero-shot"}), Names{});
  ASSERT_FALSE(outcome_.ok());
  EXPECT_EQ(outcome_.error().code, ErrorCode::kNotFound);
  EXPECT_NE(outcome_.error().message.find("python3-jieba"), std::string::npos);
}

Result<EvalPlan> plan_of(const EvalModel& model, const EvalSettings& settings, const char* task,
                         const char* mode) {
  const auto store = ResultStore::open_or_make(":memory:");
  const auto tasks = select_tasks(Names{task});
  EXPECT_TRUE(store.ok() && tasks.ok());
  EvalVariant variant;
  variant.kv.policy = "snapkv";
  variant.mode = mode;
  return plan_evaluation(model, *tasks, {&variant, 1}, settings, {}, *store);
}

// The tail is what the template and the suite put behind every question. The tiny vocabulary has
// neither capitals nor digits, so texts are compared as it shows them.
TEST_F(Runner, ReadsAsMuchAsTheModeSaysBeforeRowsGo) {
  settings_.form = PromptForm::kByTask;
  settings_.chat_template = "chatml";
  const auto shown = [this](const std::string& text) {
    return vocabulary_->detokenize(
        vocabulary_->tokenize(text, {.start = TextStart::kContinues}).value());
  };
  const auto tail = plan_of({*engine_, vocabulary_}, settings_, "ruler/vt", "before-tail");
  ASSERT_TRUE(tail.ok()) << tail.error().message;
  const EvalItem& item = tail->items.at(0);
  const std::span<const Token> tokens(item.tokens);
  const std::size_t first = item.first_tokens.at(ReadFirst::kQuestion);
  const std::string before = vocabulary_->detokenize(tokens.first(first));
  EXPECT_TRUE(before.ends_with(shown(item.sample.question))) << before;
  EXPECT_EQ(vocabulary_->detokenize(tokens.subspan(first)),
            "\nassistant\n" + shown(item.sample.answer_prefix));

  const auto text = plan_of({*engine_, vocabulary_}, settings_, "ruler/vt", "agnostic");
  ASSERT_TRUE(text.ok()) << text.error().message;
  const std::size_t context = text->items.at(0).first_tokens.at(ReadFirst::kText);
  EXPECT_EQ(vocabulary_->detokenize(tokens.subspan(context, first - context)),
            shown(item.sample.question));
}

// With and without a template the same text; plain text by itself has the template's room as well.
TEST_F(Runner, ATextCanBeAskedWithoutItsTemplate) {
  settings_.chat_template = "chatml";
  settings_.request.lengths = {2048};
  std::map<PromptForm, EvalPlan> plans;
  for (const PromptForm form :
       {PromptForm::kByTask, PromptForm::kPlain, PromptForm::kPlainSameTexts}) {
    settings_.form = form;
    auto plan = plan_of({*engine_, vocabulary_}, settings_, "ruler/cwe", "aware");
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    plans.emplace(form, std::move(plan).value());
  }
  const EvalItem& wrapped = plans.at(PromptForm::kByTask).items.at(0);
  const EvalItem& plain = plans.at(PromptForm::kPlain).items.at(0);
  const EvalItem& same = plans.at(PromptForm::kPlainSameTexts).items.at(0);
  EXPECT_EQ(same.sample.prompt(), wrapped.sample.prompt());
  EXPECT_LT(same.tokens.size(), wrapped.tokens.size());
  EXPECT_NE(plain.sample.prompt(), wrapped.sample.prompt());
}

TEST_F(Runner, AModeThatAPromptHasNoPartForIsAnError) {
  const auto plan = plan_of({*engine_, vocabulary_}, settings_, "longbench/qasper", "before-tail");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(plan.error().message.find("mode before-tail cannot be asked"), std::string::npos)
      << plan.error().message;
}

}  // namespace
}  // namespace restkv
