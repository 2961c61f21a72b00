#pragma once

// Pictures of a report, as pieces of HTML and SVG that stand by themselves.

#include <string>
#include <string_view>

#include "eval/report/report.h"

namespace restkv {

// Characters that mean something in HTML are escaped; bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string html_text(std::string_view text);

// "background:...;color:..." of a score between 0 and 1: red over yellow to green.
[[nodiscard]] std::string shade_style(double share);

// Score against the share of the prompt that is kept, or that a step may read of it where that is
// less; a line for each policy and allocator, with the full cache as a dashed level. Empty when no
// line has a point.
[[nodiscard]] std::string budget_curves(const ReportData& data, const std::string& model,
                                        const std::string& suite);

// The same as a file of its own, SVG with its legend inside.
[[nodiscard]] std::string budget_curves_svg(const ReportData& data, const std::string& model,
                                            const std::string& suite);

// Depth down, length across, mean score as a colour; one map for each task and variant. Empty when
// the suite has no depths.
[[nodiscard]] std::string depth_maps(const ReportData& data, const std::string& model,
                                     const std::string& suite);

}  // namespace restkv
