#include "eval/generate.h"

#include <algorithm>
#include <utility>

namespace restkv {
namespace {

// Stream of the trial sample, apart from those of the samples.
constexpr std::size_t kTrial = std::numeric_limits<std::size_t>::max();

Error too_short(const TaskInfo& task, std::size_t length, std::size_t least_tokens) {
  return {ErrorCode::kInvalidArgument,
          std::string(task.name) + " does not fit into " + std::to_string(length) +
              " tokens: its shortest sample has " + std::to_string(least_tokens)};
}

class Filler {
 public:
  Filler(const TaskInfo& task, const TaskRequest& request, std::size_t length,
         const Generator& generator)
      : task_(task), request_(request), length_(length), generator_(generator) {}

  TaskSample make(std::size_t stream, std::size_t sample, std::size_t units) const {
    Draws draws(request_.seed, task_.name, length_, stream);
    TaskSample made = generator_.make(draws, sample, units);
    TaskSample whole = blank_sample(task_, length_);
    whole.context = std::move(made.context);
    whole.question = std::move(made.question);
    whole.answer_prefix = std::move(made.answer_prefix);
    whole.answers = std::move(made.answers);
    whole.depth = made.depth;
    if (made.max_new_tokens != 0) whole.max_new_tokens = made.max_new_tokens;
    whole.id = std::to_string(length_) + "/" + std::to_string(sample);
    whole.wording = kOwnWording;
    whole.source = generator_.source;
    count_tokens(whole, request_);
    return whole;
  }

  // What the trial sample takes.
  struct Trial {
    std::size_t units = 0;
    std::size_t step_tokens = 0;  // of one step, on the average
  };
  Result<Trial> trial() const {
    const auto tokens = [&](std::size_t n) { return make(kTrial, 0, n).tokens; };
    const std::size_t least_tokens = tokens(generator_.least);
    if (least_tokens > length_) return too_short(task_, length_, least_tokens);
    // Tokens per unit from two small samples: what stands around the units does not count.
    const std::size_t few = std::min(generator_.least + generator_.step, generator_.most);
    const std::size_t grown = tokens(few) - std::min(tokens(few), least_tokens);
    const std::size_t guess = generator_.least + (length_ - least_tokens) *
                                                     (few - generator_.least) /
                                                     std::max<std::size_t>(grown, 1);
    Trial found;
    found.units = largest_that_fits(generator_.least, generator_.most, guess,
                                    [&](std::size_t n) { return tokens(n) <= length_; });
    found.step_tokens = generator_.step * (length_ - least_tokens) /
                        std::max<std::size_t>(found.units - generator_.least, 1);
    return found;
  }

  // Units may differ much in size, so that a sample may need many fewer or more than the trial.
  Result<TaskSample> fill(std::size_t sample, const Trial& trial) const {
    std::size_t units = trial.units;
    TaskSample made = make(sample, sample, units);
    if (made.tokens > length_) {
      std::size_t above = units;
      while (made.tokens > length_) {
        if (units == generator_.least) return too_short(task_, length_, made.tokens);
        above = units;
        units -= std::min(generator_.step, units - generator_.least);
        made = make(sample, sample, units);
      }
      return fullest(sample, units, above, std::move(made));
    }
    // A try tokenizes the whole sample: only where there may be room for a step.
    while (units < generator_.most && length_ - made.tokens > trial.step_tokens / 2) {
      const std::size_t above = units + std::min(generator_.step, generator_.most - units);
      TaskSample tried = make(sample, sample, above);
      if (tried.tokens > length_) {
        return units == trial.units ? std::move(made)
                                    : fullest(sample, units, above, std::move(made));
      }
      units = above;
      made = std::move(tried);
    }
    return made;
  }

 private:
  // The largest sample of [good, bad) units that fits. REQUIRES: `made` has `good` units and fits
  TaskSample fullest(std::size_t sample, std::size_t good, std::size_t bad, TaskSample made) const {
    while (bad - good > 1) {
      const std::size_t middle = good + (bad - good) / 2;
      TaskSample tried = make(sample, sample, middle);
      if (tried.tokens <= length_) {
        good = middle;
        made = std::move(tried);
      } else {
        bad = middle;
      }
    }
    return made;
  }

  const TaskInfo& task_;
  const TaskRequest& request_;
  std::size_t length_;
  const Generator& generator_;
};

}  // namespace

std::size_t samples_of(const TaskInfo& task, const TaskRequest& request) {
  return request.samples != 0 ? request.samples : task.samples;
}

TaskSample blank_sample(const TaskInfo& task, std::size_t length) {
  TaskSample sample;
  sample.metric = task.metric;
  sample.max_new_tokens = task.max_new_tokens;
  sample.length = length;
  return sample;
}

void count_tokens(TaskSample& sample, const TaskRequest& request) {
  sample.tokens =
      request.tokenizer.count(sample.prompt()) + request.template_tokens + sample.max_new_tokens;
}

std::size_t largest_that_fits(std::size_t least, std::size_t most, std::size_t guess,
                              const std::function<bool(std::size_t)>& fits) {
  if (!fits(least)) return 0;
  std::size_t good = least;  // fits
  // From the guess upwards in growing strides until one does not fit.
  std::size_t stride = guess / 32 + 1;
  std::size_t bad = std::max(least, std::min(guess, most));
  while (bad == good || fits(bad)) {
    good = bad;
    if (good == most) return most;
    bad = most - good > stride ? good + stride : most;
    stride *= 2;
  }
  while (bad - good > 1) {
    const std::size_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

Result<std::vector<TaskSample>> generate_samples(const TaskInfo& task, const TaskRequest& request,
                                                 std::size_t length, const Generator& generator) {
  const Filler filler(task, request, length, generator);
  RESTKV_ASSIGN(const Filler::Trial trial, filler.trial());
  std::vector<TaskSample> samples;
  const std::size_t count = std::min(samples_of(task, request), generator.samples);
  for (std::size_t i = 0; i < count; ++i) {
    RESTKV_ASSIGN(TaskSample sample, filler.fill(i, trial));
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace restkv
