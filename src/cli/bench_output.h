#pragma once

// Rows as people and as programs read them. Each row is written as soon as it is measured, so that
// an interrupted run has printed all that it knows.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/result.h"

namespace restkv {

enum class BenchFormat : std::uint8_t { kMarkdown, kCsv, kJson, kJsonl, kSql };

// "md", "csv", "json", "jsonl", "sql". kInvalidArgument lists them.
Result<BenchFormat> parse_bench_format(std::string_view name);

struct BenchRow;

// Columns of the table for people that appear only where they tell rows apart.
struct BenchColumns {
  bool file = false;  // of the model
  bool batch = false;
  bool types = false;
  bool allocator = false;
  bool granularity = false;
  bool prefill = false;
  bool decode = false;
  bool fill = false;
  bool limit = false;
  std::vector<std::string_view> fields = {};  // of fields_of(), under their names
  std::size_t file_width = 8;
  std::size_t policy_width = 8;  // of the longest name with its options
  std::size_t allocator_width = 8;
  std::size_t prefill_width = 8;
  std::size_t decode_width = 8;
};

class BenchWriter {
 public:
  static std::unique_ptr<BenchWriter> make(BenchFormat format, const BenchColumns& columns);
  virtual ~BenchWriter() = default;
  // The texts for standard output: what comes before all rows, a row, what comes after them.
  virtual std::string begin() { return {}; }
  virtual std::string row(const BenchRow& row) = 0;
  virtual std::string end() { return {}; }
};

}  // namespace restkv
