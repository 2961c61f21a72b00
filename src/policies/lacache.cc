// LaCache (arXiv 2507.14204): a ladder over layers and positions. Of each group of neighbouring
// tokens a layer keeps a few, the next layer those beside them, so that between them they hold more
// of the text than one layer could. Reads neither queries nor keys.
//
// Each cut, of a turn or a step, goes on where the one before ended, until it comes to the newest
// tokens and begins anew; so all of the text is thinned in turn, not its oldest part alone. The
// place is kept as a position: rows may have gone or stayed for other reasons (protection, a
// sliding window) without moving it.
//
// The published code lets the cache grow half a group above its size, so that its mean length is
// the size; here the budget is never exceeded, so it stands for the size and half a group. A cut
// drops whole groups, and what the last one drops too many is left empty. Only where a first
// prompt, or so strong a cut that groups are stretched, ends below the budget do the newest of the
// dropped tokens fill it. Budgets too small for `layers` untouched newest tokens (a case that the
// published code does not have) leave half of the room to them.

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "policies/ladder_common.h"
#include "restkv/policy.h"

namespace restkv {
namespace {

constexpr std::size_t kPublishedSpan = 16;

std::size_t span_of(std::size_t wanted, std::size_t layers) {
  if (wanted > 0) return wanted;
  return layers > kPublishedSpan ? kPublishedSpan : layers / 2;
}

class LaCache final : public Scorer {
 public:
  explicit LaCache(const ParamValues& values)
      : span_(static_cast<std::size_t>(values.integer("span"))),
        overlap_(static_cast<std::size_t>(values.integer("overlap"))),
        start_(static_cast<std::size_t>(values.integer("start"))) {}

  void score(const LayerObservation& layer, const ScoreRequest& request,
             std::span<const std::span<float>> scores) const override {
    for (std::size_t h = 0; h < scores.size(); ++h) {
      const std::span<const Position> positions = layer.heads[h].positions;
      const auto end = static_cast<float>(positions.back() + 1);
      for (std::size_t j = 0; j < positions.size(); ++j) {
        // Three steps: dropped, kept, first tokens; the newest come first in each.
        scores[h][j] = static_cast<float>(positions[j]) + (j < start_ ? 2 * end : 0);
      }
      for (const std::uint32_t j : climb(layer, request.budget, h).rows) {
        if (j >= start_) scores[h][j] += end;
      }
    }
  }

  [[nodiscard]] PolicyCut cut(const LayerObservation& layer, const ScoreRequest& request,
                              std::size_t h) const override {
    const Climb made = climb(layer, request.budget, h);
    return {.cursor = made.cursor, .spare = made.spare};
  }

 private:
  // What one cut makes of a head's rows.
  struct Climb {
    std::vector<std::uint32_t> rows;  // that the ladder keeps
    Position cursor = 0;
    std::size_t spare = 0;
  };
  [[nodiscard]] std::optional<LadderShape> shape_of(const LayerObservation& layer,
                                                    std::size_t budget) const {
    const auto layers = static_cast<std::size_t>(layer.n_layer);
    LadderShape shape{.layers = layers,
                      .size = budget,
                      .span = span_of(span_, layers),
                      .overlap = overlap_,
                      .start = start_,
                      .recent = layers};
    if (!shape.usable() && budget > start_) shape.recent = (budget - start_) / 2;
    if (!shape.usable()) return {};
    return shape;
  }

  [[nodiscard]] Climb climb(const LayerObservation& layer, std::size_t budget,
                            std::size_t h) const {
    const std::span<const Position> positions = layer.heads[h].positions;
    Climb made{.rows = {}, .cursor = layer.cursors.empty() ? 0 : layer.cursors[h]};
    const std::optional<LadderShape> shape = shape_of(layer, budget);
    if (!shape) return made;
    std::vector<std::uint32_t>& rows = made.rows;
    rows.resize(positions.size());
    std::iota(rows.begin(), rows.end(), 0U);
    const auto first = std::ranges::lower_bound(positions, made.cursor) - positions.begin();
    std::size_t left = rows.size();
    bool stretched = false;
    for (const LadderPass& pass :
         Ladder(*shape, static_cast<std::size_t>(first)).cut(positions.size())) {
      const std::size_t next = pass.begin + pass.groups * pass.before;
      made.cursor = next < rows.size() ? positions[rows[next]] : positions.back() + 1;
      left -= pass.groups * (pass.before - pass.after);
      stretched |= pass.stride > 1;
      rows = thinned(pass, static_cast<std::size_t>(layer.layer), rows);
    }
    if (!stretched && left < budget && positions.size() > budget) made.spare = budget - left;
    std::ranges::sort(rows);
    const auto twice = std::ranges::unique(rows);
    rows.erase(twice.begin(), twice.end());
    return made;
  }

  std::size_t span_;  // 0: by the number of layers
  std::size_t overlap_;
  std::size_t start_;
};

std::unique_ptr<Scorer> make(const ParamValues& values) {
  return std::make_unique<LaCache>(values);
}

Result<void> check(const ParamValues& values, int n_layer) {
  const auto invalid = [](std::string message) {
    return Error{ErrorCode::kInvalidArgument, std::move(message)};
  };
  const int span = values.integer("span");
  const int overlap = values.integer("overlap");
  if (span > 0 && overlap >= span) {
    return invalid("lacache: the overlap (" + std::to_string(overlap) +
                   ") must be below the span (" + std::to_string(span) + ")");
  }
  if (n_layer == 0) return {};
  const auto used =
      static_cast<int>(span_of(static_cast<std::size_t>(span), static_cast<std::size_t>(n_layer)));
  if (used >= n_layer || overlap >= used) {
    return invalid("lacache: a span of " + std::to_string(used) + " layers and an overlap of " +
                   std::to_string(overlap) + " make no ladder in a model of " +
                   std::to_string(n_layer) + " layers");
  }
  return {};
}

constexpr ParamInfo kParams[] = {
    {.name = "span",
     .summary = "layers over which one step of the ladder goes; 0: 16, or half of up to 16 layers",
     .kind = ParamKind::kInteger,
     .default_value = "0",
     .min = 0,
     .max = 1024},
    {.name = "overlap",
     .summary = "tokens that the steps of neighbouring layers share",
     .kind = ParamKind::kInteger,
     .default_value = "0",
     .min = 0,
     .max = 1023},
    {.name = "start",
     .summary = "first tokens that stay (the publication: 4, 64 or 128, by task)",
     .kind = ParamKind::kInteger,
     .default_value = "4",
     .min = 0,
     .max = 65536},
    {.name = "positions",
     .summary = "where attention sees the rows: where they were, or side by side (the publication)",
     .kind = ParamKind::kChoice,
     .default_value = "original",
     .choices = "original|renumbered"},
};

}  // namespace

extern const PolicyInfo lacache_policy;
constinit const PolicyInfo lacache_policy{
    .name = "lacache",
    .summary = "a ladder: each layer keeps other tokens of a group, by position alone",
    .paper = "LaCache, arXiv 2507.14204",
    .needs = Needs::kCursor,
    .paper_protection = {.sinks = 4, .window = false},
    .scores_depend_on_budget = true,
    .reads_rows = false,
    .params = kParams,
    .make = make,
    .check = check,
    .renumbers =
        [](const ParamValues& values) { return values.choice("positions") == "renumbered"; },
};

}  // namespace restkv
