#pragma once

// Measures what block sizes catch of each head's attention, and makes a table of it.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "eval/block_table_file.h"
#include "restkv/decode_options.h"
#include "restkv/result.h"
#include "sparse/block_allocation.h"

namespace restkv {

inline constexpr std::size_t kMostHeldBack = 10;

struct CalibrationOptions {
  DecodeOptions decode;  // of a method that takes a table: estimator, summaries, budget, layers
  std::size_t passages = 50;
  // More passages, on which the table is measured afterwards. Empty: as many as the text has, at
  // least 1 and at most kMostHeldBack.
  std::optional<std::size_t> held_back;
  std::size_t tokens = 2048;  // of a passage
  BlockMean mean = BlockMean::kHarmonic;
  std::size_t mean_rows = 32;
};

struct Calibration {
  BlockTable table;
  BlockTableOrigin origin;
};

// The text of a file: the paragraphs of a SQuAD file (JSON, data[].paragraphs[].context), or the
// file as it is. Empty path: text of our own. `name` becomes what reports call it.
Result<std::string> calibration_text(const std::string& path, std::string& name);

using CalibrationWatch = std::function<void(std::size_t passages_done, std::size_t passages)>;
// What can be refused without a model. kInvalidArgument: a method that takes no table, one size for
// all blocks, wrong options.
Result<void> check_calibration(const CalibrationOptions& options);
// kInvalidArgument: the text is too short; what check_calibration() and Engine::prefill() say.
// on_progress: with 0 before the first passage, and after each.
Result<Calibration> calibrate(Session& session, const std::string& text,
                              const CalibrationOptions& options, const PrefillOptions& prefill,
                              const CalibrationWatch& on_progress);

struct CalibrationJob {
  std::string text_file;  // as calibration_text()
  std::string output;
  CalibrationOptions calibration;
};
// The same with a progress bar, once it is known that the file can be written; the table is written
// to a file, as a whole. What calibrate() and write_text_file() say.
Result<Calibration> calibrate_to_file(Session& session, const CalibrationJob& job,
                                      const InterruptGuard& interrupt);

}  // namespace restkv
