#include "eval/tasks/ruler_common.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "eval/answer_check.h"
#include "eval/generate.h"
#include "eval/json_file.h"

namespace restkv {
namespace {

// Splits a row's input into context, question and prefix.
void split_input(std::string_view input, TaskSample& sample) {
  const std::size_t last = input.find_last_not_of(" \n");
  const std::size_t line_break =
      last == std::string_view::npos ? std::string_view::npos : input.rfind('\n', last);
  const std::size_t line = line_break == std::string_view::npos ? 0 : line_break + 1;
  sample.context = input.substr(0, line);
  const std::string_view rest = input.substr(line);
  if (!sample.answer_prefix.empty()) {
    sample.question = rest;
    return;
  }
  std::size_t cut = rest.rfind(" Answer:");
  if (cut == std::string_view::npos) {
    cut = rest.rfind("? ");
    if (cut != std::string_view::npos) ++cut;
  }
  cut = std::min(cut, rest.size());
  sample.question = rest.substr(0, cut);
  sample.answer_prefix = rest.substr(cut);
}

}  // namespace

std::string filled(std::string_view text, std::initializer_list<Slot> slots) {
  std::string out;
  while (!text.empty()) {
    const auto slot =
        std::ranges::find_if(slots, [&](const Slot& one) { return text.starts_with(one.name); });
    if (slot != slots.end()) {
      out += slot->value;
      text.remove_prefix(slot->name.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& pieces, std::string_view separator) {
  std::string text;
  for (const std::string& piece : pieces) {
    if (&piece != pieces.data()) text += separator;
    text += piece;
  }
  return text;
}

std::vector<std::string> hide_lines(std::vector<std::string> haystack,
                                    std::vector<std::string> hidden, Draws& draws) {
  std::vector<std::size_t> places =
      draws.distinct(std::min(hidden.size(), haystack.size()), haystack.size());
  while (places.size() < hidden.size()) places.push_back(draws.below(haystack.size() + 1));
  std::ranges::sort(places, std::greater<>());  // from the end, so that no place moves
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    haystack.insert(haystack.begin() + static_cast<std::ptrdiff_t>(places[i]),
                    std::move(hidden[i]));
  }
  return haystack;
}

Result<std::vector<TaskSample>> published_ruler_samples(const TaskInfo& task,
                                                        const TaskRequest& request,
                                                        std::size_t length) {
  const std::string_view name = task.name.substr(task.name.find('/') + 1);
  const std::string file = "ruler/" + std::to_string(length) + "/" + std::string(name) + ".jsonl";
  const DataFile source = {file, "NVIDIA/RULER's scripts/data/prepare.py", "Apache-2.0"};
  RESTKV_ASSIGN(const std::string path, data_path(request, source));
  std::vector<TaskSample> samples;
  const auto read = [&](const JsonRecord& row) -> Result<Reading> {
    TaskSample sample = blank_sample(task, length);
    RESTKV_ASSIGN(const std::string input, row.text("input"));
    RESTKV_ASSIGN(sample.answers, row.texts("outputs"));
    if (input.empty()) return row.wrong_field("input", "a string that is not empty");
    if (sample.answers.empty()) return row.wrong_field("outputs", "a list that is not empty");
    RESTKV_TRY(check_answers(sample, row, "outputs"));
    if (row.has("answer_prefix")) {
      RESTKV_ASSIGN(sample.answer_prefix, row.text("answer_prefix"));
    }
    split_input(input, sample);
    sample.id = std::to_string(length) + "/" + std::to_string(samples.size());
    sample.wording = kOfficialWording;
    sample.source = file;
    count_tokens(sample, request);
    samples.push_back(std::move(sample));
    return samples.size() < samples_of(task, request) ? Reading::kGoOn : Reading::kStop;
  };
  RESTKV_TRY(for_each_json_line(path, read));
  return samples;
}

}  // namespace restkv
