#pragma once

// The ladder of LaCache (arXiv 2507.14204): which rows of a too long cache stay in which layer.
// Neighbouring layers keep shifted pieces, so that a part of the context that one layer has dropped
// is still seen by another. Knows rows by their index in the cache only.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace restkv {

struct LadderShape {
  std::size_t layers = 0;
  std::size_t size = 0;     // rows that a cut leaves at most
  std::size_t span = 0;     // layers that keep a row between them
  std::size_t overlap = 0;  // rows that neighbouring pieces share
  std::size_t start = 0;    // first rows that are never dropped
  std::size_t recent = 0;   // newest rows that the first pass leaves alone; published: `layers`

  // Rows before and after one group, and how many it loses.
  [[nodiscard]] std::size_t before() const;
  [[nodiscard]] std::size_t after() const;
  [[nodiscard]] std::size_t gain() const { return before() - after(); }
  // False where no cut is defined: overlap >= span, span >= layers, or no room for one group.
  [[nodiscard]] bool usable() const;
};

// Thins a list: `groups` times, from row `begin` on, of `before` rows the layer keeps `after`, each
// `stride` rows from the next.
struct LadderPass {
  std::size_t begin = 0;
  std::size_t groups = 0;
  std::size_t before = 0;
  std::size_t after = 0;
  std::size_t stride = 1;
};

// One cache that is cut again and again. All layers have the same number of rows.
class Ladder {
 public:
  // cursor: the row at which the next group begins; before the start means there.
  // REQUIRES: shape.usable().
  explicit Ladder(const LadderShape& shape, std::size_t cursor = 0)
      : shape_(shape), cursor_(cursor < shape.start ? shape.start : cursor) {}

  // The passes that bring `length` rows to the size, in order, and the cursor moves on. None when
  // they fit.
  std::vector<LadderPass> cut(std::size_t length);

 private:
  LadderShape shape_;
  std::size_t cursor_;  // where the next group begins
};

// What `layer` keeps of the list. With a stride above 1 pieces of neighbouring groups can overlap:
// rows then come out of order or twice, as in the published code. Rows past the end, at which that
// code fails, are passed over.
std::vector<std::uint32_t> thinned(const LadderPass& pass, std::size_t layer,
                                   const std::vector<std::uint32_t>& rows);

}  // namespace restkv
