#include "kernels/ref/table.h"
#include "kernels/ref/operations.h"

namespace restkv {

const KernelTable& ref_table() {
  static constexpr KernelTable kTable{
      .name = "ref",
      .description = "plain loops, the definition of correct",
      .dot = ref::dot,
      .axpy = ref::axpy,
      .rms_norm = ref::rms_norm,
      .silu_mul = ref::silu_mul,
      .gelu_mul = ref::gelu_mul,
      .add = ref::add,
      .rope_adjacent = ref::rope_adjacent,
      .rope_halves = ref::rope_halves,
      .encode_row = ref::encode_row,
      .decode_row = ref::decode_row,
      .prefill_attention = ref::prefill_attention,
      .sparse_attention = ref::sparse_attention,
      .decode_attention = ref::decode_attention,
      .window_attention = ref::window_attention,
      .column_sums = ref::column_sums,
      .round_activations = ref::round_activations,
      .multiply_packed = ref::multiply_packed,
      .output_distances = ref::output_distances,
      .weighted_sum = ref::weighted_sum,
      .projected_sizes = ref::projected_sizes,
      .score_boxes = ref::score_boxes,
  };
  return kTable;
}

}  // namespace restkv
