// InfiniteBench's tasks about books, dialogues and repositories (arXiv 2402.13718, section 3), read
// from the published files. The wordings are ours.

#include <algorithm>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/infinitebench_common.h"

namespace restkv {
namespace {

constexpr std::string_view kLetters = "ABCD";

TaskSample prompt_of(std::string head, const std::string& context, std::string question,
                     std::string prefix) {
  TaskSample sample;
  sample.context = std::move(head) + context;
  sample.question = std::move(question);
  sample.answer_prefix = std::move(prefix);
  return sample;
}

Result<std::string> options_text(const InfiniteBenchRow& row) {
  if (row.options.size() != kLetters.size()) {
    return Error{ErrorCode::kCorrupt, "field 'options' must be a list of four strings"};
  }
  std::string text;
  for (std::size_t i = 0; i < kLetters.size(); ++i) {
    text += std::string(1, kLetters[i]) + ". " + row.options[i] + "\n";
  }
  return text;
}

// The right option's text and its letter.
Result<std::vector<std::string>> labels_of(const InfiniteBenchRow& row) {
  const auto option = std::ranges::find(row.options, row.answers.front());
  if (option == row.options.end()) {
    return Error{ErrorCode::kCorrupt, "field 'answer' is none of the options"};
  }
  const auto index = static_cast<std::size_t>(option - row.options.begin());
  return std::vector<std::string>{*option, std::string(1, kLetters[index])};
}

Result<TaskSample> summary_prompt(const InfiniteBenchRow& row) {
  return prompt_of("Summarise the book below.\n\n", row.context,
                   "\n\nWrite a summary of the book above.\n", "Summary:");
}

Result<TaskSample> book_question_prompt(const InfiniteBenchRow& row) {
  return prompt_of("Read the book below and answer a question about it in a few words.\n\n",
                   row.context, "\n\nQuestion: " + row.input + "\n", "Answer:");
}

Result<TaskSample> choice_prompt(const InfiniteBenchRow& row) {
  RESTKV_ASSIGN(const std::string options, options_text(row));
  RESTKV_ASSIGN(std::vector<std::string> labels, labels_of(row));
  TaskSample sample = prompt_of(
      "Read the book below and answer a question about it.\n\n", row.context,
      "\n\nQuestion: " + row.input + "\n\nWhich of these is right? Give one letter.\n" + options,
      "The letter of the right answer is");
  sample.answers = std::move(labels);
  return sample;
}

Result<TaskSample> dialogue_prompt(const InfiniteBenchRow& row) {
  return prompt_of("In the dialogue below one name was replaced by $$MASK$$. Find out which.\n\n",
                   row.context, "\n\nWhich name does $$MASK$$ stand for? Give the name alone.\n",
                   "The name is");
}

Result<TaskSample> debug_prompt(const InfiniteBenchRow& row) {
  RESTKV_ASSIGN(const std::string options, options_text(row));
  RESTKV_ASSIGN(std::vector<std::string> labels, labels_of(row));
  TaskSample sample = prompt_of(
      "One function of the code below was given an obvious error on purpose. Find it.\n\n",
      row.context, "\n\nWhich function has the error?\n" + options, "The right option is:");
  sample.answers = std::move(labels);
  return sample;
}

Result<TaskSample> chinese_question_prompt(const InfiniteBenchRow& row) {
  return prompt_of("请阅读下面这本书，然后用几个词回答问题。\n\n", row.context,
                   "\n\n问题：" + row.input + "\n", "答案：");
}

template <Result<TaskSample> (*Prompt)(const InfiniteBenchRow&)>
Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  return published_infinitebench_samples(task, request, length, Prompt);
}

constexpr TaskInfo kTasks[] = {
    {
        .name = "infinitebench/longbook_sum_eng",
        .category = "books",
        .summary = "the summary of a novel",
        .metric = "rouge_lsum",
        .max_new_tokens = 1200,
        .samples = 103,
        .make = make<summary_prompt>,
    },
    {
        .name = "infinitebench/longbook_qa_eng",
        .category = "books",
        .summary = "a question about a novel",
        .metric = "qa_f1",
        .max_new_tokens = 40,
        .samples = 351,
        .make = make<book_question_prompt>,
    },
    {
        .name = "infinitebench/longbook_choice_eng",
        .category = "books",
        .summary = "a question about a novel, with four answers to choose from",
        .metric = "choice",
        .max_new_tokens = 40,
        .samples = 229,
        .make = make<choice_prompt>,
    },
    {
        .name = "infinitebench/longdialogue_qa_eng",
        .category = "books",
        .summary = "the name that is left out of a dialogue",
        .metric = "name_found",
        .max_new_tokens = 40,
        .samples = 200,
        .make = make<dialogue_prompt>,
    },
    {
        .name = "infinitebench/longbook_qa_chn",
        .category = "books",
        .summary = "a question about a novel, Chinese",
        .metric = "char_f1_zh",
        .max_new_tokens = 40,
        .samples = 189,
        .in_suite = false,
        .make = make<chinese_question_prompt>,
    },
    {
        .name = "infinitebench/code_debug",
        .category = "code",
        .summary = "the function of a repository that has an error",
        .metric = "code_debug",
        .max_new_tokens = 5,
        .samples = 394,
        .make = make<debug_prompt>,
    },
};

}  // namespace

extern const TaskFamily infinitebench_books_tasks;
constinit const TaskFamily infinitebench_books_tasks{.suite = "infinitebench", .tasks = kTasks};

}  // namespace restkv
