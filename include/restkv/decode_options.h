#pragma once

// How a decode step reads the cache: all of it, or of each KV head the blocks of rows that look
// best for the query at hand. Nothing is dropped: the next step chooses anew.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/budget.h"
#include "restkv/params.h"

namespace restkv {

struct SelectionPlan;  // sparse/selection_plan.h

// A block size for every KV head, measured on one model (AB-Sparse, arXiv 2605.12110).
struct BlockTable {
  std::string name = {};         // what reports call it
  std::string fingerprint = {};  // ModelInfo::fingerprint of the model that was measured
  int n_layer = 0;
  int n_kv_head = 0;
  std::vector<int> block_rows = {};  // [n_layer, n_kv_head], each one of kBlockSizes
  // How the sizes were found. Empty or 0: not known, as of a file that does not say.
  std::string estimator = {};  // whose boxes they are for: "quest" or "arkvale"
  std::string summaries = {};  // element type of the boxes: "f16", "int8" or "int4"
  std::string mean = {};       // that was held to mean_rows: "harmonic" or "arithmetic"
  int mean_rows = 0;
  std::string texts = {};  // where the passages came from
};

struct DecodeOptions {
  std::string method = "dense";
  std::vector<ParamValues::Assignment> method_options;
  // Rows that a KV head reads in a step, or percent of the rows that it holds then. Empty: the
  // method's default.
  std::optional<Budget> budget;
  // Only for methods that take one; null: one block size for all. It excludes the option `block`,
  // and the method's estimator must be the table's.
  std::shared_ptr<const BlockTable> table;
};

// A method's entry in the table. Constant data.
struct DecodeMethodInfo {
  std::string_view name;            // what a user writes
  std::string_view summary;         // one line
  std::string_view paper;           // citation
  std::string_view default_budget;  // as a user would write it; empty: reads everything
  bool takes_table = false;         // of block sizes
  std::span<const ParamInfo> params;
  // Null: reads everything. REQUIRES: values were parsed against `params`.
  SelectionPlan (*plan)(const ParamValues& values) = nullptr;
};

// All methods, sorted by name. Generated from the files of src/sparse/methods.
std::span<const DecodeMethodInfo* const> all_decode_methods();
// Null when there is none of that name.
const DecodeMethodInfo* find_decode_method(std::string_view name);

// What decode has read since the last prefill.
struct DecodeReport {
  std::string method;
  std::string budget;                            // as asked: "1024" or "4%"; "100%" for dense
  std::vector<ParamValues::Assignment> options;  // in force: with a table there is no block size
  std::string table;  // name of the table of block sizes; empty: one size for all
  // As the BlockTable says; empty and 0 without one.
  std::string table_mean;
  int table_mean_rows = 0;
  std::string table_texts;
  std::size_t steps = 0;  // tokens decoded
  // Per step, layer and KV head, layers that are always read whole included; 0 without a step.
  double rows_read_mean = 0;
  double rows_held_mean = 0;
  std::size_t summary_bytes = 0;  // what the blocks' summaries held in the last step
};

// How large the blocks are, in words: "blocks of 32 for all heads", or a table's mean and where its
// passages came from. Empty where there are no blocks.
[[nodiscard]] std::string block_sizes_text(const DecodeReport& report);

}  // namespace restkv
