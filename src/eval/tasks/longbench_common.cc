#include "eval/tasks/longbench_common.h"

#include <algorithm>

#include "base/check.h"
#include "eval/json_file.h"

namespace restkv {
namespace {

constexpr std::string_view kOrigin = "THUDM/LongBench, folder LongBench/config";
constexpr DataFile kPromptFile = {"longbench/config/dataset2prompt.json", kOrigin, "MIT"};
constexpr DataFile kMaxLenFile = {"longbench/config/dataset2maxlen.json", kOrigin, "MIT"};

constexpr std::string_view kContext = "{context}";
constexpr std::string_view kInput = "{input}";

}  // namespace

const LongBenchSet& longbench_set(const TaskInfo& task) {
  const std::string_view name = task.name.substr(task.name.find('/') + 1);
  const auto* const set = std::ranges::find(kLongBenchSets, name, &LongBenchSet::name);
  RESTKV_CHECK(set != kLongBenchSets.end());
  return *set;
}

Result<LongBenchTemplate> load_longbench_template(const TaskRequest& request,
                                                  std::string_view set) {
  RESTKV_ASSIGN(const std::string path, data_path(request, kPromptFile));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  const JsonRecord record(file, path);
  RESTKV_ASSIGN(const std::string text, record.text(set));
  const std::size_t context = text.find(kContext);
  if (context == std::string::npos) return record.wrong_field(set, "a template with {context}");
  LongBenchTemplate form;
  form.head = text.substr(0, context);
  const std::string rest = text.substr(context + kContext.size());
  const std::size_t input = rest.find(kInput);
  form.has_input = input != std::string::npos;
  form.middle = form.has_input ? rest.substr(0, input) : "";
  form.tail = form.has_input ? rest.substr(input + kInput.size()) : rest;
  return form;
}

Result<std::size_t> load_longbench_max_new_tokens(const TaskRequest& request,
                                                  std::string_view set) {
  RESTKV_ASSIGN(const std::string path, data_path(request, kMaxLenFile));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  const JsonRecord record(file, path);
  RESTKV_ASSIGN(const long long tokens, record.integer(set));
  if (tokens < 1 || tokens > 1'000'000) return record.wrong_field(set, "a number of tokens");
  return static_cast<std::size_t>(tokens);
}

std::optional<std::size_t> find_question(const LongBenchTemplate& form, std::string_view prompt) {
  if (!prompt.starts_with(form.head)) return std::nullopt;
  const auto is_blank = [](std::string_view text) {
    return text.find_first_not_of(" \n") == std::string_view::npos;
  };
  // Without a text between context and input the tail alone is sure; without one there either, the
  // input begins as the examples in the context do: "Question:", "Dialogue:".
  std::string anchor = is_blank(form.middle) ? form.tail : form.middle;
  if (is_blank(anchor)) {
    const std::string_view body = prompt.substr(form.head.size());
    const std::size_t end = std::min(body.find(':'), body.find("\xEF\xBC\x9A"));  // or full width
    constexpr std::size_t kLongest = 40;                                          // bytes
    if (end > kLongest) return std::nullopt;
    anchor = "\n" + std::string(body.substr(0, end));
  }
  const std::size_t place = prompt.rfind(anchor);
  if (place == std::string_view::npos || place < form.head.size()) return std::nullopt;
  return place;
}

void describe_sample(const LongBenchSet& set, TaskSample& sample) {
  sample.wrap = set.wrap;
  sample.scored = set.scored;
  if (set.name() == "samsum") {
    sample.end_token = "\n";
    sample.min_new_tokens = 1;
  }
}

}  // namespace restkv
