// MiniLongBench (arXiv 2505.19959): 237 items of LongBench's 21 sets, published as finished
// prompts. Where the official template shows, the prompt is cut at the question.

#include <array>
#include <optional>
#include <utility>

#include "eval/answer_check.h"
#include "eval/generate.h"
#include "eval/json_file.h"
#include "eval/tasks/longbench_common.h"
#include "eval/truncate.h"

namespace restkv {
namespace {

// `gold` is a list, or for the sets with classes an object.
Result<void> read_gold(const LongBenchSet& set, const JsonRecord& row, TaskSample& sample) {
  if (set.has_classes() || (row.has("gold") && row.value()["gold"].is_object())) {
    RESTKV_ASSIGN(const JsonRecord gold, row.object("gold"));
    RESTKV_ASSIGN(sample.answers, gold.texts("answers"));
    RESTKV_ASSIGN(sample.classes, gold.texts("all_classes"));
    if (set.has_classes() && sample.classes.empty()) {
      return gold.wrong_field("all_classes", "a list that is not empty");
    }
  } else {
    RESTKV_ASSIGN(sample.answers, row.texts("gold"));
  }
  if (sample.answers.empty()) return row.wrong_field("gold", "a list that is not empty");
  return check_answers(sample, row, "gold");
}

// The templates that a set's prompts may have been made with. qasper has that of hotpotqa, and a
// blank that narrativeqa's lacks stands in its prompts.
Result<std::vector<LongBenchTemplate>> templates_of(const TaskRequest& request,
                                                    std::string_view set) {
  RESTKV_ASSIGN(LongBenchTemplate own, load_longbench_template(request, set));
  std::vector<LongBenchTemplate> forms = {std::move(own)};
  constexpr std::string_view kGlued = "asconcisely";
  LongBenchTemplate parted = forms.front();
  bool has_glued = false;
  for (std::string* text : {&parted.head, &parted.middle, &parted.tail}) {
    const std::size_t at = text->find(kGlued);
    if (at == std::string::npos) continue;
    text->replace(at, kGlued.size(), "as concisely");
    has_glued = true;
  }
  if (has_glued) forms.push_back(std::move(parted));
  if (set == "qasper") {
    RESTKV_ASSIGN(LongBenchTemplate other, load_longbench_template(request, "hotpotqa"));
    forms.push_back(std::move(other));
  }
  return forms;
}

// A prompt that no template fits is cut before its last paragraph.
std::size_t question_of(const std::vector<LongBenchTemplate>& forms, std::string_view prompt) {
  for (const LongBenchTemplate& form : forms) {
    if (const auto place = find_question(form, prompt)) return *place;
  }
  const std::size_t place = prompt.rfind("\n\n");
  return place == std::string_view::npos ? 0 : place;
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  const LongBenchSet& set = longbench_set(task);
  const std::string file = "minilongbench/MiniLongBench_" + std::string(set.name()) + ".json";
  const DataFile source = {file, "MilkThink-Lab/MiniLongBench",
                           "none given; the items are LongBench's (MIT)"};
  RESTKV_ASSIGN(const std::string path, data_path(request, source));
  RESTKV_ASSIGN(const nlohmann::json root, read_json_file(path));
  RESTKV_ASSIGN(const std::vector<LongBenchTemplate> forms, templates_of(request, set.name()));
  const JsonRecord items(root, path);
  if (!root.is_object() || root.empty()) return items.wrong("must be an object with items");
  std::vector<TaskSample> samples;
  const std::size_t count = std::min(samples_of(task, request), root.size());
  for (std::size_t i = 0; i < count; ++i) {
    RESTKV_ASSIGN(const JsonRecord row, items.object(std::to_string(i)));
    TaskSample sample = blank_sample(task, length);
    describe_sample(set, sample);
    RESTKV_ASSIGN(const std::string prompt, row.text("origin_prompt"));
    RESTKV_TRY(read_gold(set, row, sample));
    const std::size_t question = question_of(forms, prompt);
    sample.context = prompt.substr(0, question);
    sample.question = prompt.substr(question);
    sample.id = std::to_string(length) + "/" + std::to_string(i);
    sample.wording = kOfficialWording;
    sample.source = file;
    RESTKV_TRY(fit_to_length(sample, length, request));
    samples.push_back(std::move(sample));
  }
  return samples;
}

constexpr auto kTasks = longbench_tasks_of(LongBenchSuite::kMini, make);

}  // namespace

extern const TaskFamily minilongbench_tasks;
constinit const TaskFamily minilongbench_tasks{.suite = "minilongbench", .tasks = kTasks};

}  // namespace restkv
