// Tasks and scorers speak of the same metrics, and a right answer is one.

#include <gtest/gtest.h>

#include "eval/samples.h"
#include "eval/scorers/scorer.h"

namespace restkv {
namespace {

TEST(TaskMetrics, EveryTaskHasAScorer) {
  for (const TaskInfo* task : all_tasks()) {
    const auto scorer = find_scorer(task->metric);
    EXPECT_TRUE(scorer.ok()) << task->name << ": " << scorer.error().message;
  }
}

// Of every task that is made without files: all right answers in a row score 1.
TEST(TaskMetrics, TheRightAnswersOfMadeSamplesScoreOne) {
  std::size_t made = 0;
  for (const TaskInfo* task : all_tasks()) {
    const auto samples = make_samples(*task, request_of({4096}, 2));
    if (!samples.ok()) continue;  // needs a file
    for (const TaskSample& sample : *samples) {
      const auto scorer = find_scorer(sample.metric);
      ASSERT_TRUE(scorer.ok()) << sample.id;
      if ((*scorer)->needs_chinese_words) continue;
      std::string prediction;
      for (const std::string& answer : sample.answers) {
        prediction += (prediction.empty() ? "" : " ") + answer;
      }
      const auto result =
          score(**scorer,
                {.prediction = prediction, .answers = sample.answers, .classes = sample.classes});
      ASSERT_TRUE(result.ok()) << task->name << ": " << result.error().message;
      EXPECT_EQ(result->value, 1) << task->name << ": " << prediction;
      ++made;
    }
  }
  EXPECT_GE(made, 2U * 15);  // RULER, the needle and what of InfiniteBench is made
}

}  // namespace
}  // namespace restkv
