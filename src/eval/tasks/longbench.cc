// LongBench (arXiv 2308.14508): 21 sets from the published files, with the published prompts. By
// default the 16 sets of papers on eviction.

#include <array>
#include <utility>

#include "base/quote.h"
#include "eval/answer_check.h"
#include "eval/generate.h"
#include "eval/json_file.h"
#include "eval/tasks/longbench_common.h"
#include "eval/truncate.h"

namespace restkv {
namespace {

struct Reader {
  const TaskInfo& task;
  const TaskRequest& request;
  const LongBenchSet& set;
  const LongBenchTemplate& form;
  std::size_t max_new_tokens = 0;
  std::size_t length = 0;
  std::string file;
};

Result<TaskSample> read_sample(const Reader& reader, const JsonRecord& row, std::size_t index) {
  TaskSample sample = blank_sample(reader.task, reader.length);
  describe_sample(reader.set, sample);
  RESTKV_ASSIGN(const std::string context, row.text("context"));
  RESTKV_ASSIGN(const std::string input, row.text("input"));
  RESTKV_ASSIGN(sample.answers, row.texts("answers"));
  if (sample.answers.empty()) return row.wrong_field("answers", "a list that is not empty");
  if (row.has("all_classes")) {
    RESTKV_ASSIGN(sample.classes, row.texts("all_classes"));
  }
  if (reader.set.has_classes() && sample.classes.empty()) {
    return row.wrong_field("all_classes", "a list that is not empty");
  }
  RESTKV_TRY(check_answers(sample, row, "answers"));
  if (row.has("dataset")) {
    RESTKV_ASSIGN(const std::string dataset, row.text("dataset"));
    if (dataset != reader.set.name() && dataset != std::string(reader.set.name()) + "_e") {
      return row.wrong("field 'dataset' says " + restkv::quoted(dataset));
    }
  }
  const LongBenchTemplate& form = reader.form;
  sample.context = form.head + context;
  sample.question = form.has_input ? form.middle + input + form.tail : form.tail;
  sample.max_new_tokens = reader.max_new_tokens;
  sample.id = std::to_string(reader.length) + "/" + std::to_string(index);
  sample.wording = kOfficialWording;
  sample.source = reader.file;
  RESTKV_TRY(fit_to_length(sample, reader.length, reader.request));
  return sample;
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  const LongBenchSet& set = longbench_set(task);
  const std::string_view name = set.name();
  const std::string file = "longbench/" + std::string(name) + ".jsonl";
  const DataFile source = {file, "THUDM/LongBench's data.zip at Hugging Face", "MIT"};
  RESTKV_ASSIGN(const std::string path, data_path(request, source));
  RESTKV_ASSIGN(const LongBenchTemplate form, load_longbench_template(request, name));
  RESTKV_ASSIGN(const std::size_t max_new_tokens, load_longbench_max_new_tokens(request, name));
  const Reader reader = {.task = task,
                         .request = request,
                         .set = set,
                         .form = form,
                         .max_new_tokens = max_new_tokens,
                         .length = length,
                         .file = file};
  std::vector<TaskSample> samples;
  const auto read = [&](const JsonRecord& row) -> Result<Reading> {
    RESTKV_ASSIGN(TaskSample sample, read_sample(reader, row, samples.size()));
    samples.push_back(std::move(sample));
    return samples.size() < samples_of(task, request) ? Reading::kGoOn : Reading::kStop;
  };
  RESTKV_TRY(for_each_json_line(path, read));
  return samples;
}

constexpr auto kTasks = longbench_tasks_of(LongBenchSuite::kWhole, make);

}  // namespace

extern const TaskFamily longbench_tasks;
constinit const TaskFamily longbench_tasks{.suite = "longbench", .tasks = kTasks};

}  // namespace restkv
