#pragma once

// One way to treat the cache of a prompt: what an evaluation compares.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/kv_options.h"
#include "restkv/prefill_attention.h"
#include "restkv/result.h"

namespace restkv {

// Of samples and of policies that draw, where nobody asks for another.
inline constexpr std::uint64_t kUsualSeed = 42;

struct EvalVariant {
  KvOptions kv;
  // Of the samples that it is run on. A policy that draws with the same seed is one variant under
  // every seed of the samples, which is a key of its own in the results.
  std::uint64_t sample_seed = kUsualSeed;
  // What stands beside the cache's own options, each a name that its entry of
  // variant_dimensions() knows.
  std::string schedule = "once";
  std::string granularity = "kv-head";
  std::string mode = "aware";
  std::string prefill = "dense";           // or a pattern, with its options: "xattention:stride=8"
  std::string decode_attention = "dense";  // or a method, with its options: "quest:block=32"
  std::string decode_budget = "default";
  // "none", or a hash of a table's sizes: what set_dimension() makes of a path. The table itself is
  // kv.decode.table.
  std::string decode_table = "none";
};

// A dimension beside the cache's own options. Constant data. To give it another value, add the
// value here and what it means to the runner.
struct VariantDimension {
  std::string_view field;    // in files and columns: "decode_attn"
  std::string_view flag;     // of the command line: "--decode-attns"
  std::string_view alias;    // as the other commands name it: "--decode-attn"; empty: they do not
  std::string_view form;     // of a list, for the help: "NAME[:OPT=V],..."
  std::string_view summary;  // one line
  std::string_view others;   // what may stand there beside the known names: ", every:TOKENS"
  std::span<const std::string_view> known;
  std::string EvalVariant::* value = nullptr;
};
std::span<const VariantDimension> variant_dimensions();

// False when every value of the dimension comes to the same variant: nothing ever goes from a full
// cache, so it does not matter when, nor whose rows, nor what has been seen by then; dense decode
// reads everything, whatever the budget; a table is for methods that take one.
[[nodiscard]] bool dimension_matters(const EvalVariant& variant, const VariantDimension& dimension);

// How much of a prompt has been read when rows go: all of it; all but what a template and a suite
// put behind the question, so that the newest queries are the question's own (the rest is read as
// if it had been written); or the text that stands before the question (which is then a turn of its
// own).
enum class ReadFirst : std::uint8_t { kAll, kQuestion, kText };
[[nodiscard]] ReadFirst read_first(const EvalVariant& variant);

// kInvalidArgument when the value is none that the dimension has; the message lists those. A table
// of block sizes is named by its path and read: kNotFound, kIo, kCorrupt.
Result<void> set_dimension(EvalVariant& variant, const VariantDimension& dimension,
                           std::string_view value);

// "rest-kv:alpha=0.2", "ada:alpha=0.3".
[[nodiscard]] std::string policy_spec(const KvOptions& options);
[[nodiscard]] std::string allocator_spec(const KvOptions& options);

// Everything that tells two variants apart, in a fixed order: the same text = the same variant, for
// ever, so it is what a resumed run looks for. "decode_table" is there only where one is in force,
// and "group" where the score of a group is not the mean. "seed" is null where it is that of the
// samples, but for the usual one: results of before this was so stay what they are. (Budgets of
// 100000 rows and more, and full caches under a pattern with a window above 64, had other texts
// before 2026-11-29; they are run anew.)
[[nodiscard]] nlohmann::ordered_json variant_json(const EvalVariant& variant);
// One line for people, with what differs from the defaults: "rest-kv 512", "snapkv 10% ada". Two
// different variants have different lines. Options that have no budget to obey leave it out.
[[nodiscard]] std::string variant_label(const EvalVariant& variant);

// The list of a file: an array of objects with any of the fields of variant_json(), the others as
// in `defaults`; a "decode_table" is named by its path. An unknown field, name or value is an error
// that names the file, the element and the field; so is an empty list, or the same variant twice.
Result<std::vector<EvalVariant>> read_variants(const std::string& path,
                                               const EvalVariant& defaults);

// The cache's options with those that stand beside them.
// REQUIRES: schedule and decode attention came through set_dimension().
[[nodiscard]] KvOptions options_of(const EvalVariant& variant);
// kInvalidArgument, naming both sides, when parts of the variant do not go together: what
// check_kv_options() refuses, and a prefill in pieces with a pattern.
[[nodiscard]] Result<void> check_variant(const EvalVariant& variant);

// options_of() with what a benchmark's publications set for a policy: rest-kv smooths over 21
// tokens on RULER and InfiniteBench. Options that the variant itself names stay.
[[nodiscard]] KvOptions options_for_suite(const EvalVariant& variant, std::string_view suite);
// REQUIRES: the variant's prefill came through set_dimension().
[[nodiscard]] PrefillAttention prefill_attention_of(const EvalVariant& variant);

}  // namespace restkv
