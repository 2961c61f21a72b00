#include "text/utf8_stream.h"

#include <cstddef>
#include <utility>

namespace restkv {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Lead {
  std::size_t length = 0;            // bytes of the character; 0 = no character begins like this
  unsigned char second_low = 0x80;   // the second byte's range is narrower after E0, ED, F0 and F4:
  unsigned char second_high = 0xBF;  // no overlong forms, surrogates or values above 10FFFF
};

Lead classify(unsigned char byte) {
  if (byte < 0x80) return {.length = 1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .second_low = 0xA0};
  if (byte == 0xED) return {.length = 3, .second_high = 0x9F};
  if (byte < 0xF0) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .second_low = 0x90};
  if (byte == 0xF4) return {.length = 4, .second_high = 0x8F};
  if (byte < 0xF4) return {.length = 4};
  return {};
}

// How many bytes at the start of `bytes` belong together, and whether they are a whole character.
struct Prefix {
  std::size_t length = 0;  // at least 1
  enum class State { kComplete, kWrong, kUnfinished } state = State::kWrong;
};

// REQUIRES: !bytes.empty()
Prefix next_prefix(std::string_view bytes) {
  const Lead lead = classify(static_cast<unsigned char>(bytes[0]));
  if (lead.length == 0) return {.length = 1, .state = Prefix::State::kWrong};
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {.length = i, .state = Prefix::State::kUnfinished};
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const unsigned char low = i == 1 ? lead.second_low : 0x80;
    const unsigned char high = i == 1 ? lead.second_high : 0xBF;
    if (byte < low || byte > high) return {.length = i, .state = Prefix::State::kWrong};
  }
  return {.length = lead.length, .state = Prefix::State::kComplete};
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string complete;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Prefix prefix = next_prefix(rest);
    if (prefix.state == Prefix::State::kUnfinished) break;
    complete.append(prefix.state == Prefix::State::kComplete ? rest.substr(0, prefix.length)
                                                             : kReplacement);
    rest.remove_prefix(prefix.length);
  }
  pending_ = std::string(rest);
  return complete;
}

std::string Utf8Stream::flush() {
  // What is pending is one unfinished character: one wrong part.
  const bool unfinished = !std::exchange(pending_, {}).empty();
  return unfinished ? std::string(kReplacement) : std::string();
}

std::vector<std::string> with_whole_characters(const std::vector<std::string>& pieces) {
  Utf8Stream characters;
  std::vector<std::string> whole;
  for (const std::string& piece : pieces) whole.push_back(characters.push(piece));
  if (!whole.empty()) whole.back() += characters.flush();
  return whole;
}

}  // namespace restkv
