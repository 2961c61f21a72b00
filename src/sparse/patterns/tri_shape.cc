// Tri-shape (SCBench, arXiv 2412.10319; code in MInference): a static pattern. Every query sees the
// first `init` tokens and the `local` tokens up to itself; the last `last` queries see everything.
//
// Rows are listed for blocks of 64 queries: what the block's oldest query sees of the past is what
// all of them see, so the others see up to 63 rows more than the publication's.

#include <algorithm>

#include "sparse/pattern.h"

namespace restkv {
namespace {

class TriShapeRows final : public RowChoice {
 public:
  TriShapeRows(std::size_t init, std::size_t local) : init_(init), local_(local) {}

  [[nodiscard]] bool per_head() const override { return false; }
  void rows(std::size_t /*head*/, std::size_t block, std::vector<RowSpan>& rows) const override {
    rows.clear();
    const std::size_t oldest = block * kPatternBlock;
    const std::size_t begin = oldest + 1 > local_ ? oldest + 1 - local_ : 0;
    append_span(0, std::min(init_, oldest + kPatternBlock), rows);
    append_span(begin, oldest + kPatternBlock, rows);
  }

 private:
  std::size_t init_, local_;
};

class TriShape final : public PrefillPattern {
 public:
  explicit TriShape(const ParamValues& values)
      : init_(static_cast<std::size_t>(values.integer("init"))),
        local_(static_cast<std::size_t>(values.integer("local"))),
        last_(static_cast<std::size_t>(values.integer("last"))) {}

  [[nodiscard]] std::size_t dense_up_to() const override { return init_ + local_; }
  [[nodiscard]] std::size_t dense_tail() const override { return last_; }
  [[nodiscard]] std::unique_ptr<RowChoice> choose(const PatternInput& /*input*/) const override {
    return std::make_unique<TriShapeRows>(init_, local_);
  }

 private:
  std::size_t init_, local_, last_;
};

std::unique_ptr<PrefillPattern> make(const ParamValues& values) {
  return std::make_unique<TriShape>(values);
}

constexpr ParamInfo kParams[] = {
    {.name = "init",
     .summary = "first tokens that every query sees",
     .kind = ParamKind::kInteger,
     .default_value = "128",
     .min = 0,
     .max = 1e6},
    {.name = "local",
     .summary = "newest tokens that a query sees, itself included",
     .kind = ParamKind::kInteger,
     .default_value = "3968",
     .min = 1,
     .max = 1e6},
    {.name = "last",
     .summary = "last queries of the prompt that see everything",
     .kind = ParamKind::kInteger,
     .default_value = "100",
     .min = 0,
     .max = 1e6},
};

}  // namespace

extern const PatternInfo tri_shape_pattern;
constinit const PatternInfo tri_shape_pattern{
    .name = "tri-shape",
    .summary = "the first tokens and the neighbourhood; the last queries see everything",
    .paper = "Tri-shape, arXiv 2412.10319",
    .needs = PatternNeeds::kNothing,
    .params = kParams,
    .make = make,
};

}  // namespace restkv
