#pragma once

// Data files of benchmarks: UTF-8 text, JSON, and JSON lines, which are read one line at a time.
// Whatever a file may hold, the answer is a value or an error that names file, line and field.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

inline constexpr std::size_t kMaxDataFileBytes = std::size_t{1} << 30U;  // read as a whole
inline constexpr std::size_t kMaxLineBytes = std::size_t{64} << 20U;

// The path of a file below the data folder. kNotFound, with the file's origin and licence, when
// there is no data folder or the file is not in it.
Result<std::string> data_path(const TaskRequest& request, const DataFile& file);
// Whether data_path() would find it.
bool has_data(const TaskRequest& request, const DataFile& file);

// A JSON value and where it stands ("squad.json, article 3"), for messages. The value must outlive
// the record.
class JsonRecord {
 public:
  JsonRecord(const nlohmann::json& value, std::string where);

  // kCorrupt when the record is no object, when the field is missing, or of another type.
  [[nodiscard]] Result<std::string> text(std::string_view field) const;
  [[nodiscard]] Result<long long> integer(std::string_view field) const;
  [[nodiscard]] Result<double> number(std::string_view field) const;
  [[nodiscard]] Result<bool> truth(std::string_view field) const;
  [[nodiscard]] Result<JsonRecord> object(std::string_view field) const;
  // Every element as a record of its own, whatever its type.
  [[nodiscard]] Result<std::vector<JsonRecord>> list(std::string_view field) const;
  [[nodiscard]] Result<std::vector<std::string>> texts(std::string_view field) const;
  [[nodiscard]] Result<std::vector<double>> numbers(std::string_view field) const;
  // The elements of this value itself. kCorrupt when it is no list.
  [[nodiscard]] Result<std::vector<JsonRecord>> elements() const;
  [[nodiscard]] Result<std::vector<std::string>> element_texts() const;

  [[nodiscard]] bool has(std::string_view field) const;  // there and not null
  [[nodiscard]] const nlohmann::json& value() const { return *value_; }
  [[nodiscard]] const std::string& where() const { return where_; }
  // kCorrupt: "WHERE: what".
  [[nodiscard]] Error wrong(const std::string& what) const;
  [[nodiscard]] Error wrong_field(std::string_view field, std::string_view wanted) const;

 private:
  // kCorrupt when it is missing.
  [[nodiscard]] Result<const nlohmann::json*> field(std::string_view name) const;

  const nlohmann::json* value_;
  std::string where_;
};

// A whole file. kIo, kCorrupt (not UTF-8 or not JSON, with the byte), too large.
Result<nlohmann::json> read_json_file(const std::string& path);
// A whole text file.
Result<std::string> read_data_text(const std::string& path);

// Calls `line` for every line that is not blank, in order, until it says kStop. The first error,
// its own or of the file, ends the reading. A file without a line is kCorrupt.
enum class Reading : std::uint8_t { kGoOn, kStop };
Result<void> for_each_json_line(const std::string& path,
                                const std::function<Result<Reading>(const JsonRecord&)>& line);

}  // namespace restkv
