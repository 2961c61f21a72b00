#pragma once

// The file of block sizes that `restkv calibrate` writes and --decode-table reads: a small JSON
// object with the model's fingerprint, the sizes and how they were measured.

#include <string>
#include <vector>

#include "restkv/decode_options.h"
#include "restkv/result.h"

namespace restkv {

// How a table came about, beside what the table itself says; for people, not read back.
struct BlockTableOrigin {
  std::string model = {};   // its name
  std::string budget = {};  // as typed
  std::size_t rows = 0;     // of a whole passage that a head was given to read
  std::string texts_hash = {};
  std::size_t passages = 0;
  std::size_t held_back = 0;  // passages that the two shares below were measured on; 0: the others
  std::size_t tokens = 0;     // of each passage
  double recall = 0;          // attention caught, mean over heads, with these sizes
  double recall_uniform = 0;  // the same with one size for all
};

// kNotFound, kIo; kCorrupt: not such a file. The message names the file and what is wrong with it.
// A file may leave out how the sizes were found: estimator, summaries, mean, mean_rows and texts.
Result<BlockTable> read_block_table(const std::string& path);
// The text of such a file, with a line break at the end.
std::string block_table_text(const BlockTable& table, const BlockTableOrigin& origin);

}  // namespace restkv
