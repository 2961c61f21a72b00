#pragma once

// What LongBench and MiniLongBench share: the table of the 21 sets and the official templates.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

struct LongBenchSet {
  std::string_view full_name;  // "minilongbench/qasper", which ends in the other two names
  std::string_view category;
  std::string_view summary;
  std::string_view metric;
  std::size_t max_new_tokens = 0;
  Wrap wrap = Wrap::kChat;
  AnswerPart scored = AnswerPart::kWhole;
  bool in_papers = true;  // one of the 16 sets of eviction papers

  [[nodiscard]] constexpr bool has_classes() const { return metric == "classification"; }
  [[nodiscard]] constexpr std::string_view longbench_name() const { return full_name.substr(4); }
  [[nodiscard]] constexpr std::string_view name() const { return full_name.substr(14); }
};

namespace longbench_table {
inline constexpr std::string_view kSingle = "single-document QA";
inline constexpr std::string_view kMulti = "multi-document QA";
inline constexpr std::string_view kSummary = "summarisation";
inline constexpr std::string_view kShots = "few-shot";
inline constexpr std::string_view kSynthetic = "synthetic";
inline constexpr std::string_view kCode = "code";

// LongBench (arXiv 2308.14508), table 1, and pred.py and eval.py of its repository.
inline constexpr std::array kSets = {
    LongBenchSet{.full_name = "minilongbench/narrativeqa",
                 .category = kSingle,
                 .summary = "a question about a book or a film script",
                 .metric = "qa_f1",
                 .max_new_tokens = 128},
    LongBenchSet{.full_name = "minilongbench/qasper",
                 .category = kSingle,
                 .summary = "a question about a scientific article",
                 .metric = "qa_f1",
                 .max_new_tokens = 128},
    LongBenchSet{.full_name = "minilongbench/multifieldqa_en",
                 .category = kSingle,
                 .summary = "a question about an article",
                 .metric = "qa_f1",
                 .max_new_tokens = 64},
    LongBenchSet{.full_name = "minilongbench/multifieldqa_zh",
                 .category = kSingle,
                 .summary = "a question about an article, Chinese",
                 .metric = "qa_f1_zh",
                 .max_new_tokens = 64,
                 .in_papers = false},
    LongBenchSet{.full_name = "minilongbench/hotpotqa",
                 .category = kMulti,
                 .summary = "a question that takes several passages (HotpotQA)",
                 .metric = "qa_f1",
                 .max_new_tokens = 32},
    LongBenchSet{.full_name = "minilongbench/2wikimqa",
                 .category = kMulti,
                 .summary = "a question that takes several passages (2WikiMultihopQA)",
                 .metric = "qa_f1",
                 .max_new_tokens = 32},
    LongBenchSet{.full_name = "minilongbench/musique",
                 .category = kMulti,
                 .summary = "a question that takes several passages (MuSiQue)",
                 .metric = "qa_f1",
                 .max_new_tokens = 32},
    LongBenchSet{.full_name = "minilongbench/dureader",
                 .category = kMulti,
                 .summary = "a question that takes several passages, Chinese",
                 .metric = "rouge_zh",
                 .max_new_tokens = 128,
                 .in_papers = false},
    LongBenchSet{.full_name = "minilongbench/gov_report",
                 .category = kSummary,
                 .summary = "the summary of a government report",
                 .metric = "rouge_l",
                 .max_new_tokens = 512},
    LongBenchSet{.full_name = "minilongbench/qmsum",
                 .category = kSummary,
                 .summary = "an answer about a meeting's transcript",
                 .metric = "rouge_l",
                 .max_new_tokens = 512},
    LongBenchSet{.full_name = "minilongbench/multi_news",
                 .category = kSummary,
                 .summary = "the summary of several news articles",
                 .metric = "rouge_l",
                 .max_new_tokens = 512},
    LongBenchSet{.full_name = "minilongbench/vcsum",
                 .category = kSummary,
                 .summary = "the summary of a meeting, Chinese",
                 .metric = "rouge_zh",
                 .max_new_tokens = 512,
                 .in_papers = false},
    LongBenchSet{.full_name = "minilongbench/trec",
                 .category = kShots,
                 .summary = "the type of a question, from examples",
                 .metric = "classification",
                 .max_new_tokens = 64,
                 .wrap = Wrap::kPlain,
                 .scored = AnswerPart::kFirstLine},
    LongBenchSet{.full_name = "minilongbench/triviaqa",
                 .category = kShots,
                 .summary = "a question about a passage, from examples",
                 .metric = "qa_f1",
                 .max_new_tokens = 32,
                 .wrap = Wrap::kPlain,
                 .scored = AnswerPart::kFirstLine},
    LongBenchSet{.full_name = "minilongbench/samsum",
                 .category = kShots,
                 .summary = "the summary of a dialogue, from examples",
                 .metric = "rouge_l",
                 .max_new_tokens = 128,
                 .wrap = Wrap::kPlain,
                 .scored = AnswerPart::kFirstLine},
    LongBenchSet{.full_name = "minilongbench/lsht",
                 .category = kShots,
                 .summary = "the class of a news article, from examples, Chinese",
                 .metric = "classification",
                 .max_new_tokens = 64,
                 .wrap = Wrap::kPlain,
                 .scored = AnswerPart::kFirstLine,
                 .in_papers = false},
    LongBenchSet{.full_name = "minilongbench/passage_count",
                 .category = kSynthetic,
                 .summary = "how many of the paragraphs are different",
                 .metric = "count",
                 .max_new_tokens = 32},
    LongBenchSet{.full_name = "minilongbench/passage_retrieval_en",
                 .category = kSynthetic,
                 .summary = "the paragraph that an abstract belongs to",
                 .metric = "retrieval",
                 .max_new_tokens = 32},
    LongBenchSet{.full_name = "minilongbench/passage_retrieval_zh",
                 .category = kSynthetic,
                 .summary = "the paragraph that an abstract belongs to, Chinese",
                 .metric = "retrieval_zh",
                 .max_new_tokens = 32,
                 .in_papers = false},
    LongBenchSet{.full_name = "minilongbench/lcc",
                 .category = kCode,
                 .summary = "the next line of a file",
                 .metric = "code_sim",
                 .max_new_tokens = 64,
                 .wrap = Wrap::kPlain},
    LongBenchSet{.full_name = "minilongbench/repobench-p",
                 .category = kCode,
                 .summary = "the next line of a file, seen with others of its repository",
                 .metric = "code_sim",
                 .max_new_tokens = 64,
                 .wrap = Wrap::kPlain},
};
}  // namespace longbench_table
inline constexpr const auto& kLongBenchSets = longbench_table::kSets;

// The set of a task of either suite. REQUIRES: there is one
const LongBenchSet& longbench_set(const TaskInfo& task);

// The tasks of a suite, one for each set.
enum class LongBenchSuite : std::uint8_t { kWhole, kMini };
using MakeSamples = decltype(TaskInfo::make);
constexpr auto longbench_tasks_of(LongBenchSuite suite, MakeSamples make) {
  std::array<TaskInfo, kLongBenchSets.size()> tasks;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const LongBenchSet& set = kLongBenchSets[i];
    tasks[i] = {.name = suite == LongBenchSuite::kMini ? set.full_name : set.longbench_name(),
                .category = set.category,
                .summary = set.summary,
                .metric = set.metric,
                .max_new_tokens = set.max_new_tokens,
                .samples = 500,
                .in_suite = set.in_papers,
                .make = make};
  }
  return tasks;
}

// A set's official template cut at its slots: a prompt is
// head + context + middle + input + tail, without middle and input where there is no {input}.
struct LongBenchTemplate {
  std::string head;
  std::string middle;
  std::string tail;
  bool has_input = false;
};
// From longbench/config/dataset2prompt.json. kNotFound without the file, kCorrupt without the set
// or {context}.
Result<LongBenchTemplate> load_longbench_template(const TaskRequest& request, std::string_view set);
// From longbench/config/dataset2maxlen.json: tokens that a set's answers may have.
Result<std::size_t> load_longbench_max_new_tokens(const TaskRequest& request, std::string_view set);

// Where the question of a complete prompt begins: the last place where the template goes on behind
// the context. nullopt when the prompt was not made with this template.
std::optional<std::size_t> find_question(const LongBenchTemplate& form, std::string_view prompt);

// Fills what the set's row says.
void describe_sample(const LongBenchSet& set, TaskSample& sample);

}  // namespace restkv
