// AB-Sparse (arXiv 2605.12110): heads differ in how coarse their blocks may be, so each KV head has
// a block size of its own, measured once for a model (`restkv calibrate`); without a table all have
// the size of `block`. Boxes are Quest's or ArkVale's and are stored in 4 bits.
//
// Open in the publication and ours: the first block and the last are always read and counted; the
// budget is the same number of rows for every head, so a head reads max(3, round(budget / size))
// blocks; the first two layers read everything, as Quest's; blocks are chosen per KV head by its
// best query head. docs/ab_sparse.md says so to users.

#include "restkv/decode_options.h"
#include "sparse/selection_plan.h"

namespace restkv {
namespace {

SelectionPlan make_plan(const ParamValues& values) {
  SelectionPlan plan{
      .box = values.choice("estimator") == "arkvale" ? BoxKind::kCentred : BoxKind::kMinMax,
      .merge = HeadMerge::kMax,
      .first_blocks = 1,
      .last_blocks = 1,
      .paid_blocks = 2,
      .rounding = BlockRounding::kNearest};
  read_common_params(values, plan);
  return plan;
}

constexpr ParamInfo kParams[] = {
    {.name = "estimator",
     .summary = "whose boxes describe a block",
     .kind = ParamKind::kChoice,
     .default_value = "quest",
     .choices = "quest|arkvale"},
    block_param("32"),
    summaries_param("int4"),
    kDenseLayersParam,
};

}  // namespace

extern const DecodeMethodInfo ab_sparse_decode_method;
constinit const DecodeMethodInfo ab_sparse_decode_method{
    .name = "ab-sparse",
    .summary = "as quest or arkvale, with a block size for each KV head and summaries of 4 bits",
    .paper = "AB-Sparse, arXiv 2605.12110",
    .default_budget = "4%",
    .takes_table = true,
    .params = kParams,
    .plan = make_plan,
};

}  // namespace restkv
