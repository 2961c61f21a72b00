// Schedule: how a user writes it.

#include <charconv>

#include "restkv/kv_options.h"

namespace restkv {
namespace {

constexpr std::size_t kMaxInterval = std::size_t{1} << 30;

Error wrong(std::string_view text) {
  return {ErrorCode::kInvalidArgument,
          "unknown schedule '" + std::string(text) +
              "' (known: once, every:TOKENS, cap, chunk:TOKENS, with a whole number above 0)"};
}

}  // namespace

Result<Schedule> Schedule::parse(std::string_view text) {
  if (text == "once") return Schedule{};
  if (text == "cap") return Schedule{.kind = Kind::kCap};
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  if (colon == std::string_view::npos || (name != "every" && name != "chunk")) return wrong(text);
  const std::string_view digits = text.substr(colon + 1);
  std::size_t interval = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), interval);
  if (error != std::errc() || end != digits.data() + digits.size()) return wrong(text);
  if (interval == 0 || interval > kMaxInterval) return wrong(text);
  return Schedule{.kind = name == "every" ? Kind::kEvery : Kind::kChunk, .interval = interval};
}

std::string Schedule::text() const {
  switch (kind) {
    case Kind::kOnce: return "once";
    case Kind::kEvery: return "every:" + std::to_string(interval);
    case Kind::kCap: return "cap";
    case Kind::kChunk: return "chunk:" + std::to_string(interval);
  }
  return "?";
}

}  // namespace restkv
