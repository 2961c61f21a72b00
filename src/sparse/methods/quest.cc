// Quest (arXiv 2406.10774): of each page the smallest and the largest key of each channel; with the
// query they bound q.k from above, and the pages with the highest bounds are read.
//
// As the published engine does it, the page with the newest row is always read and the others are
// one fewer; the published evaluation script scores that page like the rest. The publication picks
// pages per query head; here the rows of a KV head are read once for its group, and a page counts
// as much as its best query head says (ours).

#include "restkv/decode_options.h"
#include "sparse/selection_plan.h"

namespace restkv {
namespace {

SelectionPlan make_plan(const ParamValues& values) {
  SelectionPlan plan{.box = BoxKind::kMinMax,
                     .merge = HeadMerge::kMax,
                     .first_blocks = 0,
                     .last_blocks = 1,
                     .paid_blocks = 1,
                     .rounding = BlockRounding::kDown};
  read_common_params(values, plan);
  return plan;
}

constexpr ParamInfo kParams[] = {block_param("16"), summaries_param("f16"), kDenseLayersParam};

}  // namespace

extern const DecodeMethodInfo quest_decode_method;
constinit const DecodeMethodInfo quest_decode_method{
    .name = "quest",
    .summary = "blocks whose smallest and largest keys allow the largest product with the query",
    .paper = "Quest, arXiv 2406.10774",
    .default_budget = "1024",
    .takes_table = false,
    .params = kParams,
    .plan = make_plan,
};

}  // namespace restkv
