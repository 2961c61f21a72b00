#include "eval/report/report_pictures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "base/format.h"
#include "eval/report/report_tables.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 320;
constexpr double kLeft = 44;
constexpr double kRight = 26;  // half of "100 %"
constexpr double kTop = 12;
constexpr double kBottom = 40;
// Told apart by most kinds of sight (Okabe and Ito 2008).
constexpr std::array<const char*, 8> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                 "#E69F00", "#56B4E9", "#8a7a00", "#555555"};
constexpr std::array<const char*, 4> kDashes = {"", "6 3", "2 3", "9 3 2 3"};

struct Point {
  double read;   // share of the prompt
  double score;  // 0 .. 1
  std::string name;
};
struct Curves {
  std::map<std::string, std::vector<Point>> lines;
  std::vector<double> full;
};

Curves curves_of(const ReportData& data, const std::string& model, const std::string& suite) {
  Curves curves;
  for (const SummaryEntry& entry : data.summary.entries) {
    if (entry.level != SummaryLevel::kSuite || entry.model != model || entry.name != suite) {
      continue;
    }
    if (entry.budget.empty()) {
      curves.full.push_back(entry.mean);
      continue;
    }
    // Everything of the label but the budget names a line.
    std::string name = entry.variant;
    const std::size_t at = name.find(" " + entry.budget);
    if (at != std::string::npos) name.erase(at, entry.budget.size() + 1);
    curves.lines[name].push_back({entry.read_share, entry.mean, entry.variant});
  }
  for (auto& [name, points] : curves.lines) std::ranges::sort(points, {}, &Point::read);
  return curves;
}

// The horizontal axis is logarithmic, from the smallest share to the whole prompt.
struct Axes {
  double least;
  [[nodiscard]] double x(double read) const {
    const double share = std::log(std::max(read, least) / least) / std::log(1.0 / least);
    return kLeft + share * (kWidth - kLeft - kRight);
  }
  static double y(double score) { return kTop + (1 - score) * (kHeight - kTop - kBottom); }
};

std::string axes_text(const Axes& axes) {
  std::string text;
  for (int percent = 0; percent <= 100; percent += 20) {
    const double y = Axes::y(percent / 100.0);
    text += format("<line x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f' class='grid'/>", kLeft,
                   kWidth - kRight, y, y);
    text +=
        format("<text x='%.0f' y='%.1f' text-anchor='end'>%d</text>", kLeft - 6, y + 4, percent);
  }
  for (const double share : {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0}) {
    if (share < axes.least) continue;
    const double x = axes.x(share);
    text += format("<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='grid'/>", x, x, kTop,
                   kHeight - kBottom);
    text += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%.0f %%</text>", x,
                   kHeight - kBottom + 16, share * 100);
  }
  return text + format(
                    "<text x='%.0f' y='%.0f' text-anchor='middle'>share of the prompt kept, or "
                    "read where that is less</text>",
                    (kLeft + kWidth) / 2, kHeight - 6);
}

const char* colour_of(std::size_t number) { return kColours[number % kColours.size()]; }

// Colours come again after 8 lines, then with other dashes: how a line and its place in a legend
// are drawn.
std::string stroke_of(std::size_t number) {
  return format("stroke-width='2' stroke='%s' stroke-dasharray='%s'", colour_of(number),
                kDashes[number / kColours.size() % kDashes.size()]);
}

std::string line_text(const Axes& axes, const std::vector<Point>& points, std::size_t number) {
  const char* colour = colour_of(number);
  std::string path;
  std::string dots;
  for (const Point& point : points) {
    const double x = axes.x(point.read);
    const double y = Axes::y(point.score);
    path += format("%.1f,%.1f ", x, y);
    dots += format("<circle cx='%.1f' cy='%.1f' r='4' fill='%s'><title>", x, y, colour) +
            html_text(point.name) + format(": %.1f %%</title></circle>", point.score * 100);
  }
  return "<polyline fill='none' " + stroke_of(number) + " points='" + path + "'/>" + dots;
}

// Axes, levels of the full cache and lines.
std::string plot_text(const Curves& curves) {
  double least = 0.5;
  for (const auto& [name, points] : curves.lines) least = std::min(least, points.front().read);
  const Axes axes{.least = std::max(least * 0.8, 1e-4)};
  std::string text = axes_text(axes);
  for (const double full : curves.full) {
    const double y = Axes::y(full);
    text += format("<line x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f' class='full'/>", kLeft,
                   kWidth - kRight, y, y);
  }
  std::size_t number = 0;
  for (const auto& [name, points] : curves.lines) text += line_text(axes, points, number++);
  return text;
}

// A piece of the line, as it is drawn above; long enough to show its dashes.
std::string swatch(const std::string& stroke) {
  return "<svg viewBox='0 0 28 8' class='swatch'><line x1='0' x2='28' y1='4' y2='4' " + stroke +
         "/></svg> ";
}

std::string legend_text(const Curves& curves) {
  std::string text = "<p class='legend'>";
  std::size_t number = 0;
  for (const auto& [name, points] : curves.lines) {
    text += "<span>" + swatch(stroke_of(number++)) + html_text(name) + "</span> ";
  }
  if (!curves.full.empty()) text += "<span>" + swatch("class='full'") + "full cache</span>";
  return text + "</p>\n";
}

using DepthScores = std::map<std::pair<double, std::int64_t>, std::vector<double>>;

std::string depth_map(const std::string& variant, const DepthScores& scores) {
  std::set<double> depths;
  std::set<std::int64_t> lengths;
  for (const auto& [place, values] : scores) {
    depths.insert(place.first);
    lengths.insert(place.second);
  }
  std::string text = "<figure><figcaption>" + html_text(variant) +
                     "</figcaption><table class='map'><tr><th>depth</th>";
  for (const std::int64_t length : lengths) text += "<th>" + std::to_string(length) + "</th>";
  text += "</tr>\n";
  for (const double depth : depths) {
    text += "<tr><th>" + format("%.0f %%", depth) + "</th>";
    for (const std::int64_t length : lengths) {
      const auto found = scores.find({depth, length});
      if (found == scores.end()) {
        text += "<td></td>";
        continue;
      }
      const double score = mean(found->second);
      text += "<td style='" + shade_style(score) + "'>" + percent_text(score) + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</table></figure>\n";
}

// Columns of the legend of a picture that stands alone, at the most 3: names must not run into one
// another.
std::size_t legend_columns(const Curves& curves) {
  constexpr double kLetter = 6.5;  // on average, of 12 px; a line and gaps are 40
  std::size_t longest = 0;
  for (const auto& [name, points] : curves.lines) longest = std::max(longest, name.size());
  const double column = 40 + kLetter * static_cast<double>(longest);
  return std::clamp<std::size_t>(static_cast<std::size_t>((kWidth - kLeft - kRight) / column), 1,
                                 3);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string safe;
  for (const char c : utf8_text(code_points(text))) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      case '\'': safe += "&#39;"; break;
      default: {
        // Control characters are not allowed in HTML.
        const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
        safe += control ? std::string("\xEF\xBF\xBD") : std::string(1, c);
      }
    }
  }
  return safe;
}

std::string shade_style(double share) {
  const double hue = std::clamp(share, 0.0, 1.0) * 120;
  return format("background:hsl(%.0f 65%% 78%%);color:#111", hue);
}

std::string budget_curves(const ReportData& data, const std::string& model,
                          const std::string& suite) {
  const Curves curves = curves_of(data, model, suite);
  if (curves.lines.empty()) return "";
  return format(
             "<svg viewBox='0 0 %.0f %.0f' role='img' aria-label='score against the share of the "
             "prompt that is kept, or read where that is less'>",
             kWidth, kHeight) +
         plot_text(curves) + "</svg>\n" + legend_text(curves);
}

std::string budget_curves_svg(const ReportData& data, const std::string& model,
                              const std::string& suite) {
  const Curves curves = curves_of(data, model, suite);
  if (curves.lines.empty()) return "";
  const std::size_t columns = legend_columns(curves);
  const std::size_t rows = (curves.lines.size() + columns) / columns;  // and full
  const double height = kHeight + 18 * static_cast<double>(rows) + 8;
  std::string text = format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' "
      "height='%.0f'>\n",
      kWidth, height, kWidth, height);
  text +=
      "<style>text{font:12px sans-serif;fill:#111}.grid{stroke:#ddd}"
      ".full{stroke:#111;stroke-width:2;stroke-dasharray:7 5}</style>\n"
      "<rect width='100%' height='100%' fill='#fff'/>\n";
  text += plot_text(curves) + "\n";
  const auto place = [columns](std::size_t number) {
    const double column = (kWidth - kLeft - kRight) / static_cast<double>(columns);
    const std::size_t down = number / columns;
    const std::size_t across = number % columns;
    return std::pair(kLeft + column * static_cast<double>(across),
                     kHeight + 14 + 18 * static_cast<double>(down));
  };
  std::size_t number = 0;
  for (const auto& [name, points] : curves.lines) {
    const auto [x, y] = place(number);
    text += format("<line x1='%.0f' x2='%.0f' y1='%.0f' y2='%.0f' ", x, x + 24, y - 4, y - 4) +
            stroke_of(number) + format("/><text x='%.0f' y='%.0f'>", x + 30, y) + html_text(name) +
            "</text>\n";
    ++number;
  }
  const auto [x, y] = place(number);
  text += format("<line x1='%.0f' x2='%.0f' y1='%.0f' y2='%.0f' class='full'/>", x, x + 24, y - 4,
                 y - 4) +
          format("<text x='%.0f' y='%.0f'>full cache</text>\n", x + 30, y);
  return text + "</svg>\n";
}

std::string depth_maps(const ReportData& data, const std::string& model, const std::string& suite) {
  std::map<std::string, std::map<std::string, DepthScores>> tasks;  // task, variant
  for (const EvalRow& row : data.rows) {
    if (row.model != model || row.suite != suite || row.depth < 0) continue;
    tasks[row.task][row.variant][{row.depth, row.length}].push_back(row.score);
  }
  const std::vector<std::string> order = variants_in_order(data.rows);
  std::string text;
  for (const auto& [task, variants] : tasks) {
    text += "<h4>" + html_text(task) + "</h4>\n<div class='maps'>";
    for (const std::string& variant : order) {
      const auto found = variants.find(variant);
      if (found != variants.end()) text += depth_map(variant, found->second);
    }
    text += "</div>\n";
  }
  return text.empty() ? "" : "<h3>By depth</h3>\n" + text;
}

}  // namespace restkv
