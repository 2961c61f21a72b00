#pragma once

// A pattern of sparse prefill says which rows each block of queries reads; the rest of the
// attention matrix is not computed. It is used where rows are positions: on the first prefill of a
// sequence, in layers without a sliding window.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "restkv/params.h"
#include "restkv/policy.h"
#include "restkv/result.h"

namespace restkv {

// Query blocks of every pattern: block b holds the tokens [64 b, 64 b + 64), counted from the start
// of the prompt, whatever the chunks are.
inline constexpr std::size_t kPatternBlock = kMaxQueryBlock;
// Chunks of a sparse prefill begin at multiples of this.
inline constexpr std::size_t kPatternChunk = 128;
// Newest queries that PatternNeeds::kLastQueries shows.
inline constexpr std::size_t kPatternLastQueries = 64;

enum class PatternNeeds : std::uint8_t {
  kNothing,       // the same for all prompts of a length: chosen once for each layer
  kChunkQueries,  // chosen for each chunk, from the chunk's queries and all keys up to them
  kLastQueries,   // chosen once for each layer, from the prompt's last queries and all keys
};

// What a pattern is shown of a layer. Valid during the call only.
struct PatternInput {
  std::size_t tokens = 0;  // of the whole prompt
  std::size_t n_head = 0;
  std::size_t head_dim = 0;
  // Query of token first + i and query head h, after RoPE: q + i * token_stride + h * head_dim.
  const float* q = nullptr;  // unspecified for kNothing
  std::size_t token_stride = 0;
  std::size_t first = 0;            // a multiple of kPatternChunk for kChunkQueries
  std::size_t count = 0;            // queries shown
  std::span<const HeadRows> heads;  // [n_kv_head]: rows 0 .. first + count - 1 at least
  AttentionRule rule;
  const KernelTable* kernels = nullptr;
  const Threads* threads = nullptr;

  [[nodiscard]] std::size_t kv_head(std::size_t head) const { return head * heads.size() / n_head; }
};

// The rows that the query blocks of one layer read. Immutable; workers share it.
class RowChoice {
 public:
  // Whether each query head has lists of its own; otherwise every head reads those of head 0.
  [[nodiscard]] virtual bool per_head() const = 0;
  // Puts the rows of query block `block` into `rows`, which has room for all spans there may be:
  // ascending, disjoint, not empty, none from 64 (block + 1) on. They may include rows that are in
  // the future of some of the queries, but every query sees at least itself.
  // REQUIRES: the block belongs to the tokens that the choice was made for.
  virtual void rows(std::size_t head, std::size_t block, std::vector<RowSpan>& rows) const = 0;
  virtual ~RowChoice() = default;
};

class PrefillPattern {
 public:
  // Prompts of up to so many tokens are read densely: nothing, or nothing worth it, is left out.
  [[nodiscard]] virtual std::size_t dense_up_to() const = 0;
  // So many newest queries see all rows (the engine takes at least 64, and the largest window).
  [[nodiscard]] virtual std::size_t dense_tail() const { return 0; }
  // Deterministic for any number of threads and any chunks. Throws std::bad_alloc.
  [[nodiscard]] virtual std::unique_ptr<RowChoice> choose(const PatternInput& input) const = 0;
  virtual ~PrefillPattern() = default;
};

// A pattern's entry in the table. Constant data.
struct PatternInfo {
  std::string_view name;
  std::string_view summary;  // one line
  std::string_view paper;    // citation
  PatternNeeds needs = PatternNeeds::kNothing;
  std::span<const ParamInfo> params;
  // Null for "dense". REQUIRES: values were parsed against `params`.
  std::unique_ptr<PrefillPattern> (*make)(const ParamValues& values) = nullptr;
};

// All patterns, sorted by file name. Generated from the files of src/sparse/patterns.
std::span<const PatternInfo* const> all_patterns();
// kInvalidArgument, listing the names, when there is none of that name.
Result<const PatternInfo*> pattern_by_name(std::string_view name);

// Adds rows [begin, end) behind what `rows` holds, joined with the last span where they touch.
// REQUIRES: begin is not before the last span's begin.
void append_span(std::size_t begin, std::size_t end, std::vector<RowSpan>& rows);

}  // namespace restkv
