#include "eval/tasks/infinitebench_common.h"

#include <utility>

#include "eval/answer_check.h"
#include "eval/generate.h"
#include "eval/json_file.h"
#include "eval/truncate.h"

namespace restkv {
namespace {

// Appends strings and numbers, of lists in lists too (math_calc's older files).
Result<void> append_answers(const JsonRecord& record, int lists_around,
                            std::vector<std::string>& answers) {
  const nlohmann::json& value = record.value();
  if (value.is_string()) {
    answers.push_back(value.get<std::string>());
  } else if (value.is_number()) {
    answers.push_back(value.dump());
  } else if (value.is_array()) {
    if (lists_around == 2) return record.wrong("is a list within a list within a list");
    RESTKV_ASSIGN(const std::vector<JsonRecord> elements, record.elements());
    for (const JsonRecord& element : elements) {
      RESTKV_TRY(append_answers(element, lists_around + 1, answers));
    }
  } else {
    return record.wrong(std::string("is ") + value.type_name() + ", not an answer");
  }
  return {};
}

Result<InfiniteBenchRow> read_row(const JsonRecord& record) {
  InfiniteBenchRow row;
  RESTKV_ASSIGN(row.context, record.text(record.has("context") ? "context" : "content"));
  if (record.has("input")) {
    RESTKV_ASSIGN(row.input, record.text("input"));
  }
  if (!record.has("answer")) return record.wrong_field("answer", "an answer or a list of them");
  RESTKV_TRY(append_answers(JsonRecord(record.value()["answer"], record.where() + ", answer"), 0,
                            row.answers));
  if (row.answers.empty()) return record.wrong_field("answer", "a list that is not empty");
  if (record.has("options") && !record.value()["options"].empty()) {
    RESTKV_ASSIGN(row.options, record.texts("options"));
  }
  return row;
}

}  // namespace

Result<std::vector<TaskSample>> published_infinitebench_samples(const TaskInfo& task,
                                                                const TaskRequest& request,
                                                                std::size_t length,
                                                                const RowPrompt& prompt) {
  const std::string_view name = task.name.substr(task.name.find('/') + 1);
  const std::string file = "infinitebench/" + std::string(name) + ".jsonl";
  RESTKV_ASSIGN(const std::string path,
                data_path(request, {.path = file,
                                    .origin = "OpenBMB/InfiniteBench at Hugging Face "
                                              "(xinrongzhang2022/InfiniteBench)",
                                    .licence = "MIT"}));
  std::vector<TaskSample> samples;
  const auto read = [&](const JsonRecord& record) -> Result<Reading> {
    RESTKV_ASSIGN(InfiniteBenchRow row, read_row(record));
    Result<TaskSample> made = prompt(row);
    if (!made) return record.wrong(made.error().message);
    TaskSample sample = blank_sample(task, length);
    sample.context = std::move(made->context);
    sample.question = std::move(made->question);
    sample.answer_prefix = std::move(made->answer_prefix);
    sample.answers = made->answers.empty() ? std::move(row.answers) : std::move(made->answers);
    RESTKV_TRY(check_answers(sample, record, "answer"));
    sample.id = std::to_string(length) + "/" + std::to_string(samples.size());
    sample.wording = kOwnWording;
    sample.source = file;
    RESTKV_TRY(fit_to_length(sample, length, request));
    samples.push_back(std::move(sample));
    return samples.size() < samples_of(task, request) ? Reading::kGoOn : Reading::kStop;
  };
  RESTKV_TRY(for_each_json_line(path, read));
  return samples;
}

}  // namespace restkv
