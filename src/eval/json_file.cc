#include "eval/json_file.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "base/quote.h"

namespace restkv {
namespace {

using nlohmann::json;

constexpr std::size_t kPieceBytes = std::size_t{1} << 16;

std::string joined(const TaskRequest& request, const DataFile& file) {
  return (std::filesystem::path(request.data_dir) / file.path).string();
}

Error corrupt(const std::string& where, const std::string& what) {
  return {ErrorCode::kCorrupt, where + ": " + what};
}

Error unreadable(const std::string& path) { return {ErrorCode::kIo, path + " cannot be read"}; }

// Throws nothing: an error of the parser becomes a text.
Result<json> parse(const std::string& where, std::string_view text) {
  try {
    return json::parse(text.begin(), text.end());
  } catch (const json::parse_error& error) {
    return corrupt(where, "no JSON in UTF-8, at byte " + std::to_string(error.byte));
  } catch (const json::exception&) {  // a number out of every range
    return corrupt(where, "holds a value that no number type takes");
  }
}

Result<std::string> text_of(const JsonRecord& record) {
  if (!record.value().is_string()) {
    return record.wrong(std::string("is ") + record.value().type_name() + ", not a string");
  }
  return record.value().get<std::string>();
}

}  // namespace

bool has_data(const TaskRequest& request, const DataFile& file) {
  std::error_code ignored;
  return !request.data_dir.empty() &&
         std::filesystem::is_regular_file(joined(request, file), ignored);
}

Result<std::string> data_path(const TaskRequest& request, const DataFile& file) {
  if (has_data(request, file)) return joined(request, file);
  std::string message(file.path);
  message += request.data_dir.empty() ? " is needed and no data folder was given (--data)"
                                      : " is missing in the data folder " + request.data_dir;
  message +=
      "; it comes from " + std::string(file.origin) + ", licence: " + std::string(file.licence);
  return Error{ErrorCode::kNotFound, message};
}

JsonRecord::JsonRecord(const json& value, std::string where)
    : value_(&value), where_(std::move(where)) {}

Error JsonRecord::wrong(const std::string& what) const { return corrupt(where_, what); }

Error JsonRecord::wrong_field(std::string_view field, std::string_view wanted) const {
  const auto found = value_->is_object() ? value_->find(field) : value_->end();
  const std::string is = found != value_->end() ? found->type_name() : "missing";
  return wrong("field " + quoted(field) + " must be " + std::string(wanted) + ", it is " + is);
}

bool JsonRecord::has(std::string_view field) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(field);
  return found != value_->end() && !found->is_null();
}

Result<const json*> JsonRecord::field(std::string_view name) const {
  if (!value_->is_object()) {
    return wrong(std::string("is ") + value_->type_name() + ", not an object");
  }
  const auto found = value_->find(name);
  if (found == value_->end()) return wrong("field " + quoted(name) + " is missing");
  return &*found;
}

Result<std::string> JsonRecord::text(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_string()) return wrong_field(name, "a string");
  return found->get<std::string>();
}

Result<long long> JsonRecord::integer(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_number_integer()) return wrong_field(name, "a whole number");
  return found->get<long long>();
}

Result<double> JsonRecord::number(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_number()) return wrong_field(name, "a number");
  return found->get<double>();
}

Result<bool> JsonRecord::truth(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_boolean()) return wrong_field(name, "true or false");
  return found->get<bool>();
}

Result<JsonRecord> JsonRecord::object(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_object()) return wrong_field(name, "an object");
  return JsonRecord(*found, where_ + ", " + std::string(name));
}

Result<std::vector<JsonRecord>> JsonRecord::list(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_array()) return wrong_field(name, "a list");
  return JsonRecord(*found, where_ + ", " + std::string(name)).elements();
}

Result<std::vector<JsonRecord>> JsonRecord::elements() const {
  if (!value_->is_array()) return wrong(std::string("is ") + value_->type_name() + ", not a list");
  std::vector<JsonRecord> records;
  for (const json& element : *value_) {
    records.emplace_back(element, where_ + "[" + std::to_string(records.size()) + "]");
  }
  return records;
}

Result<std::vector<std::string>> JsonRecord::element_texts() const {
  RESTKV_ASSIGN(const std::vector<JsonRecord> records, elements());
  std::vector<std::string> found;
  for (const JsonRecord& record : records) {
    RESTKV_ASSIGN(std::string one, text_of(record));
    found.push_back(std::move(one));
  }
  return found;
}

Result<std::vector<std::string>> JsonRecord::texts(std::string_view name) const {
  RESTKV_ASSIGN(const json* found, field(name));
  if (!found->is_array()) return wrong_field(name, "a list of strings");
  return JsonRecord(*found, where_ + ", " + std::string(name)).element_texts();
}

Result<std::vector<double>> JsonRecord::numbers(std::string_view name) const {
  RESTKV_ASSIGN(const std::vector<JsonRecord> records, list(name));
  std::vector<double> found;
  for (const JsonRecord& record : records) {
    if (!record.value().is_number()) return record.wrong("is no number");
    found.push_back(record.value().get<double>());
  }
  return found;
}

Result<std::string> read_data_text(const std::string& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) return unreadable(path);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return unreadable(path);
  // Piece by piece: what is read may be a pipe, which has no size.
  std::string text;
  std::vector<char> piece(kPieceBytes);
  do {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMaxDataFileBytes) return corrupt(path, "is larger than 1 GiB");
  } while (stream);
  if (stream.bad()) return unreadable(path);
  return text;
}

Result<json> read_json_file(const std::string& path) {
  RESTKV_ASSIGN(const std::string text, read_data_text(path));
  return parse(path, text);
}

Result<void> for_each_json_line(const std::string& path,
                                const std::function<Result<Reading>(const JsonRecord&)>& line) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return unreadable(path);
  std::string text;
  std::size_t number = 0;
  bool any = false;
  const auto where = [&] { return path + ", line " + std::to_string(number); };
  std::streambuf& bytes = *stream.rdbuf();
  for (bool more = true; more;) {
    // Not getline(): it would take a line of any size into memory.
    text.clear();
    ++number;
    for (;;) {
      const int byte = bytes.sbumpc();
      more = byte != std::char_traits<char>::eof();
      if (!more || byte == '\n') break;
      if (text.size() == kMaxLineBytes) return corrupt(where(), "is longer than 64 MiB");
      text += static_cast<char>(byte);
    }
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    any = true;
    RESTKV_ASSIGN(const json value, parse(where(), text));
    RESTKV_ASSIGN(const Reading next, line(JsonRecord(value, where())));
    if (next == Reading::kStop) return {};
  }
  if (!any) return corrupt(path, "is empty");
  return {};
}

}  // namespace restkv
