#pragma once

// How the attention of a prefill is computed: all of it, or the part that a pattern chooses.

#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/kv_options.h"
#include "restkv/params.h"
#include "restkv/result.h"

namespace restkv {

// So many of the newest queries always read everything; the largest window of the variants if that
// is more, or as many as a pattern itself says.
inline constexpr std::size_t kLeastDenseTail = 64;

// A pattern computes less than full attention, so the hidden states, and all that follows from
// them, are approximations; keys and values are still kept for every token, and what is evicted is
// chosen as ever. Patterns apply to the first prefill of a sequence and to layers without a sliding
// window. The newest max(window, 64) queries always read everything, so that policies see the true
// attention of the layer's inputs; in a shared prefill the window is the largest of the variants.
// Column sums (H2O) are still taken over all rows.
struct PrefillAttention {
  std::string pattern = "dense";  // or a pattern of src/sparse
  std::vector<ParamValues::Assignment> options;
};

// As users write it: "xattention", "xattention:stride=8:threshold=0.8". Errors as below.
Result<PrefillAttention> parse_prefill_attention(std::string_view text);
// kInvalidArgument: unknown names (the message lists the known ones), values out of range.
Result<void> check_prefill_attention(const PrefillAttention& attention);
// Everything that can be refused without a model: what check_kv_options() says, what
// check_prefill_attention() says, and kInvalidArgument when the two do not go together: of a prompt
// that is read in pieces all but the first stand on what is left of the earlier ones, which no
// pattern knows. docs/combinations.md lists what this refuses.
Result<void> check_combination(const KvOptions& options, const PrefillAttention& attention);

// What came of it.
struct PrefillReport {
  std::string pattern = "dense";                 // as asked for
  std::vector<ParamValues::Assignment> options;  // all of the pattern's, in force
  // Why everything was read densely although a pattern was asked for; else empty.
  std::string dense_because;
  // [n_layer]: rows read over rows that dense attention reads, summed over blocks of 64 queries and
  // over query heads; 1 where a layer was read densely.
  std::vector<double> layer_density;
  double estimate_ms = 0;   // choosing, all layers; projections done for it alone included
  double attention_ms = 0;  // attention itself, all layers

  // 1 where no layer was counted.
  [[nodiscard]] double mean_density() const {
    if (layer_density.empty()) return 1;
    return std::accumulate(layer_density.begin(), layer_density.end(), 0.0) /
           static_cast<double>(layer_density.size());
  }
};

}  // namespace restkv
