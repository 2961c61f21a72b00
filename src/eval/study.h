#pragma once

// The study: does a method that was tuned on long documents carry over to arithmetic, and how much
// do scores on RULER vary? What is run at which scale, and what the results allow us to say.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/report/report.h"
#include "eval/variant.h"
#include "restkv/result.h"

namespace restkv {

// One evaluation of the study.
struct StudyPart {
  std::string title;
  std::vector<std::string> tasks;
  std::vector<std::size_t> lengths;  // empty = as they come
  std::size_t samples = 0;           // of each task and length
  std::vector<EvalVariant> variants;
};

// small: within two hours on two cores with a model of half a billion parameters; medium: a night;
// large: days.
std::span<const std::string_view> study_scales();

// kInvalidArgument for an unknown scale; the message lists them. The methods are those of the
// study's list that this program has.
Result<std::vector<StudyPart>> study_parts(std::string_view scale);

// The report in Markdown, with what may be concluded before it. kept: title lines that say how it
// was made ("restkv study --scale small").
std::string study_markdown(const ReportData& data, std::string_view command);

// A full cache below this share of right answers means that the model cannot do the task, and a
// comparison of caches says nothing.
inline constexpr double kLeastFullScore = 0.3;

}  // namespace restkv
