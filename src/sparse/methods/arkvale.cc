// ArkVale (NeurIPS 2024): a box around the middle of a page's keys, as wide as they lie from it on
// average: tighter than Quest's and not moved by single keys. The first two pages and the last two
// are always read.
//
// Of T = budget / 32 pages, T - 3 are picked: the page that is being filled is not counted. The
// publication averages the scores over groups of heads, by default over all heads of a layer; here
// a group is a KV head (ours: after an eviction the heads hold different rows). Pages that are not
// picked stay where they are; there is no second memory to recall them from.

#include "restkv/decode_options.h"
#include "sparse/selection_plan.h"

namespace restkv {
namespace {

SelectionPlan make_plan(const ParamValues& values) {
  SelectionPlan plan{.box = BoxKind::kCentred,
                     .merge = HeadMerge::kMean,
                     .first_blocks = 2,
                     .last_blocks = 2,
                     .paid_blocks = 3,
                     .rounding = BlockRounding::kDown};
  read_common_params(values, plan);
  return plan;
}

constexpr ParamInfo kParams[] = {block_param("32"), summaries_param("f16"), kDenseLayersParam};

}  // namespace

extern const DecodeMethodInfo arkvale_decode_method;
constinit const DecodeMethodInfo arkvale_decode_method{
    .name = "arkvale",
    .summary = "blocks whose box around the mean key allows the largest product with the query",
    .paper = "ArkVale, NeurIPS 2024",
    .default_budget = "1024",
    .takes_table = false,
    .params = kParams,
    .plan = make_plan,
};

}  // namespace restkv
