// RULER's question answering (arXiv 2404.06654, scripts/data/synthetic/qa.py): the documents that
// hold the answer among many others of the same data set.

#include <algorithm>
#include <utility>

#include "eval/generate.h"
#include "eval/tasks/ruler_common.h"
#include "eval/tasks/ruler_qa_common.h"

namespace restkv {
namespace {

constexpr std::size_t kStep = 10;  // documents
constexpr std::string_view kTask =
    "Answer the question from the documents given. Write the answer alone and nothing else.\n\n";

// Which documents are shown: those with the answer, then others of the article, then random ones;
// the whole pool over and over when it is smaller than `count`.
std::vector<std::size_t> choose(const DocumentSet& set, const DocumentQuestion& question,
                                std::size_t count, Draws& draws) {
  std::vector<std::size_t> chosen;
  if (count >= set.documents.size()) {
    for (std::size_t i = 0; i < count; ++i) chosen.push_back(i % set.documents.size());
  } else {
    // Fewer than all that belong to the question: the needed ones stand first in `gold`.
    chosen.assign(
        question.gold.begin(),
        question.gold.begin() + static_cast<std::ptrdiff_t>(std::min(count, question.gold.size())));
    std::vector<std::size_t> more = question.more;
    if (more.size() > count - chosen.size()) {
      draws.shuffle(more);
      more.resize(count - chosen.size());
    }
    chosen.insert(chosen.end(), more.begin(), more.end());
    std::vector<bool> taken(set.documents.size());
    for (const std::size_t document : chosen) taken[document] = true;
    for (const std::size_t document : question.gold) taken[document] = true;
    std::vector<std::size_t> rest;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      if (!taken[i]) rest.push_back(i);
    }
    const std::size_t wanted = std::min(count - chosen.size(), rest.size());
    for (const std::size_t i : draws.distinct(wanted, rest.size())) chosen.push_back(rest[i]);
  }
  Draws(kFixedOrderSeed).shuffle(chosen);
  return chosen;
}

TaskSample make_sample(const DocumentSet& set, const DocumentQuestion& question, std::size_t count,
                       Draws& draws) {
  std::string documents;
  std::size_t number = 0;
  for (const std::size_t document : choose(set, question, count, draws)) {
    documents += "Document " + std::to_string(++number) + ":\n" + set.documents[document] + "\n\n";
  }
  TaskSample sample;
  sample.context = std::string(kTask) + documents;
  sample.question = std::string(kTask) + "Question: " + question.question + "\n";
  sample.answer_prefix = "Answer:";
  sample.answers = question.answers;
  return sample;
}

Result<std::vector<TaskSample>> fill(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length, const DocumentSet& set) {
  std::size_t least = 1;
  for (const DocumentQuestion& question : set.questions) {
    // Two documents at least where the answer takes two.
    if (question.gold.size() > 1) least = 2;
  }
  const Generator generator = {
      .step = kStep,
      .least = least,
      .samples = set.questions.size(),
      .source = set.source,
      .make =
          [&](Draws& draws, std::size_t sample, std::size_t documents) {
            return make_sample(set, set.questions[sample], documents, draws);
          },
  };
  return generate_samples(task, request, length, generator);
}

// Own documents have 30 tokens and more; two for each town. As many for any number of samples,
// which are filled from all of them.
DocumentSet own_set(const TaskInfo& task, const TaskRequest& request, std::size_t length,
                    Hops hops) {
  return own_documents(std::max(length / 60 + 8, task.samples), hops, request.seed);
}

Result<std::vector<TaskSample>> make_qa_1(const TaskInfo& task, const TaskRequest& request,
                                          std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(task, request, length);
  }
  if (request.material == Material::kOwn || !has_squad(request)) {
    return fill(task, request, length, own_set(task, request, length, Hops::kOne));
  }
  RESTKV_ASSIGN(const DocumentSet set, load_squad(request));
  return fill(task, request, length, set);
}

Result<std::vector<TaskSample>> make_qa_2(const TaskInfo& task, const TaskRequest& request,
                                          std::size_t length) {
  if (request.material == Material::kPublished) {
    return published_ruler_samples(task, request, length);
  }
  if (request.material == Material::kOwn || !has_hotpot(request)) {
    return fill(task, request, length, own_set(task, request, length, Hops::kTwo));
  }
  RESTKV_ASSIGN(const DocumentSet set, load_hotpot(request));
  return fill(task, request, length, set);
}

constexpr TaskInfo kTasks[] = {
    {
        .name = "ruler/qa_1",
        .category = "question answering",
        .summary = "a question about one of many documents (SQuAD)",
        .metric = "string_match_part",
        .max_new_tokens = 32,
        .samples = 500,
        .needs_length = true,
        .make = make_qa_1,
    },
    {
        .name = "ruler/qa_2",
        .category = "question answering",
        .summary = "a question about two of many documents (HotpotQA)",
        .metric = "string_match_part",
        .max_new_tokens = 32,
        .samples = 500,
        .needs_length = true,
        .make = make_qa_2,
    },
};

}  // namespace

extern const TaskFamily ruler_qa_tasks;
constinit const TaskFamily ruler_qa_tasks{.suite = "ruler", .tasks = kTasks};

}  // namespace restkv
