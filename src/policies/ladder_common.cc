#include "policies/ladder_common.h"

#include <algorithm>

namespace restkv {
namespace {

std::size_t divided_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

}  // namespace

std::size_t LadderShape::before() const { return 1 + divided_up(layers - span, span - overlap); }

std::size_t LadderShape::after() const {
  return std::min(divided_up(span, span - overlap), before());
}

bool LadderShape::usable() const {
  if (overlap >= span || span >= layers || gain() == 0) return false;
  return size >= start + recent + after();
}

std::vector<LadderPass> Ladder::cut(std::size_t length) {
  if (length <= shape_.size) return {};
  const std::size_t before = shape_.before();
  const std::size_t after = shape_.after();
  const std::size_t gain = shape_.gain();
  const std::size_t excess = length - shape_.size;
  const std::size_t taken = cursor_ + shape_.recent;
  const std::size_t room = (shape_.size - std::min(taken, shape_.size)) / after;  // groups
  const auto pass_of = [&](std::size_t groups) {
    return LadderPass{
        .begin = cursor_, .groups = groups, .before = before, .after = after, .stride = 1};
  };
  if (excess <= room * gain) {
    const LadderPass pass = pass_of(divided_up(excess, gain));
    cursor_ += pass.groups * after;
    return {pass};
  }
  // More than one pass yields: go to the end, then over the thinned list from its start, in wider
  // groups.
  std::vector<LadderPass> passes;
  if (room > 0) passes.push_back(pass_of(room));
  const std::size_t rest = excess - room * gain;
  const std::size_t whole_room = (shape_.size - shape_.start - shape_.recent) / after;
  const std::size_t stride = divided_up(rest, whole_room * gain);
  const std::size_t wide = before + (stride - 1) * (before - 1);
  const std::size_t groups = divided_up(rest, wide - after);
  passes.push_back(
      {.begin = shape_.start, .groups = groups, .before = wide, .after = after, .stride = stride});
  cursor_ = shape_.start + groups * after;
  return passes;
}

std::vector<std::uint32_t> thinned(const LadderPass& pass, std::size_t layer,
                                   const std::vector<std::uint32_t>& rows) {
  std::vector<std::uint32_t> kept;
  const auto take = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < std::min(last, rows.size()); ++i) kept.push_back(rows[i]);
  };
  take(0, pass.begin);
  const std::size_t offset = layer % (pass.before - pass.after + 1);
  for (std::size_t group = 0; group < pass.groups; ++group) {
    const std::size_t first = pass.begin + group * pass.before + offset;
    for (std::size_t i = 0; i < pass.after; ++i) {
      take(first + i * pass.stride, first + i * pass.stride + 1);
    }
  }
  take(pass.begin + pass.groups * pass.before, rows.size());
  return kept;
}

}  // namespace restkv
