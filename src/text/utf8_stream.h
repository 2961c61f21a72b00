#pragma once

// Bytes in, whole characters out. A token may hold half a character, and a terminal or a JSON
// string must never see half a character.

#include <string>
#include <string_view>
#include <vector>

namespace restkv {

// Holds back the beginning of a character until its end arrives. What can no longer become a
// character is replaced by U+FFFD, one for each maximal wrong part (The Unicode Standard, 3.9, best
// practice), so the result is valid UTF-8 and does not depend on how the bytes were split. One
// thread at a time.
class Utf8Stream {
 public:
  // Takes any bytes; returns the characters that are complete now, possibly none.
  std::string push(std::string_view bytes);
  // End of the text: what is still held back becomes U+FFFD. The stream is then as new.
  std::string flush();

 private:
  std::string pending_;  // a proper beginning of one character: at most 3 bytes
};

// The pieces of a text with each character whole: in the piece that holds its end. As many as there
// were.
[[nodiscard]] std::vector<std::string> with_whole_characters(
    const std::vector<std::string>& pieces);

}  // namespace restkv
