#pragma once

// Made samples of an exact length: a generator writes a sample of n units (lines, words,
// documents), and n is chosen so that the sample fits the tokens that were asked for.

#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "eval/draws.h"
#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

// The name of our prompt texts. They are part of every result: changed texts = a new name.
inline constexpr std::string_view kOwnWording = "restkv-1";
inline constexpr std::string_view kOfficialWording = "official";

struct Generator {
  std::size_t step = 1;  // units taken away from a sample that is too long, or added to a short one
  std::size_t least = 1;  // units below which a sample makes no sense
  std::size_t most = std::numeric_limits<std::size_t>::max();     // units that there are
  std::size_t samples = std::numeric_limits<std::size_t>::max();  // samples that there are
  std::string source;                                             // TaskSample::source
  // Fills context, question, answer_prefix, answers, and depth and max_new_tokens where they are
  // the sample's own. Each call gets the
  // stream of its sample anew. REQUIRES: least <= units <= most
  std::function<TaskSample(Draws& draws, std::size_t sample, std::size_t units)> make;
};

// How many samples a request means for a task.
std::size_t samples_of(const TaskInfo& task, const TaskRequest& request);

// A sample with what the task's entry says of all its samples.
TaskSample blank_sample(const TaskInfo& task, std::size_t length);

// Sets `tokens` from the finished prompt.
void count_tokens(TaskSample& sample, const TaskRequest& request);

// The largest n of [least, most] with fits(n), by bisection, or 0 when even the least does not fit.
// fits(n) is asked for few n; `guess` is near the answer. REQUIRES: least > 0
std::size_t largest_that_fits(std::size_t least, std::size_t most, std::size_t guess,
                              const std::function<bool(std::size_t)>& fits);

// RULER's way of filling (scripts/data/synthetic/*.py): one number of units for a task and length,
// the largest that fits on a trial sample; then each sample loses `step` units at a time while it
// is too long, and gets back what still fits of the last step. Unlike RULER's, a sample that has
// room for a whole step more gets it, so that none misses more than a step. kInvalidArgument when
// `least` units do not fit.
Result<std::vector<TaskSample>> generate_samples(const TaskInfo& task, const TaskRequest& request,
                                                 std::size_t length, const Generator& generator);

}  // namespace restkv
