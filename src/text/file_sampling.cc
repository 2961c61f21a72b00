#include "text/file_sampling.h"

#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "base/quote.h"
#include "text/model_key.h"

namespace restkv {
namespace {

// Reads keys of one file, and keeps the first error.
class Keys {
 public:
  explicit Keys(const llama_model& model) : model_(model) {}

  // Empty when there is no such key.
  [[nodiscard]] std::string text(const std::string& name) const {
    return model_key(model_, key(name));
  }

  [[nodiscard]] std::optional<float> number(const std::string& name, double least, double most) {
    const std::string value = text(name);
    if (value.empty()) return std::nullopt;
    char* end = nullptr;
    const float number = std::strtof(value.c_str(), &end);
    const bool fits = end != value.c_str() && *end == '\0' && number >= least && number <= most;
    if (!fits && error_.empty()) error_ = key(name) + " = " + quoted(value) + " is out of range";
    return fits ? std::optional(number) : std::nullopt;
  }

  [[nodiscard]] std::optional<int> whole(const std::string& name, double least) {
    constexpr double kMost = 1 << 24;  // up to here every whole number is a float
    const std::optional<float> value = number(name, least, kMost);
    return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
  }

  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] static std::string key(const std::string& name) {
    return "general.sampling." + name;
  }

 private:
  const llama_model& model_;
  std::string error_;
};

}  // namespace

Result<FileSampling> read_file_sampling(const llama_model& model) {
  Keys keys(model);
  FileSampling sampling = {.wishes = {.temperature = keys.number("temp", 0, 1e6),
                                      .top_k = keys.whole("top_k", -1),
                                      .top_p = keys.number("top_p", 0, 1),
                                      .min_p = keys.number("min_p", 0, 1),
                                      .repeat_penalty = keys.number("penalty_repeat", 1e-3, 1e3),
                                      .repeat_last_n = keys.whole("penalty_last_n", 0)},
                           .not_done = {}};
  if (!keys.error().empty()) return Error{ErrorCode::kCorrupt, keys.error()};
  for (const char* const name : {"sequence", "xtc_probability", "mirostat"}) {
    const std::string value = keys.text(name);
    const bool is_off = std::string_view(name) != "sequence" && std::atof(value.c_str()) == 0;
    if (!value.empty() && !is_off)
      sampling.not_done.push_back(Keys::key(name) + " = " + quoted(value));
  }
  return sampling;
}

}  // namespace restkv
