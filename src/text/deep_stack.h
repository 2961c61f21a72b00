#pragma once

// Room for libllama's regular expressions. Most byte-level vocabularies cut a text into words with
// std::regex, which recurs once for every character of a word: a line of 25 000 equal characters
// fills a stack of 8 MiB, and what lies behind its end is a fault that nobody can catch.

#include <cstddef>
#include <functional>
#include <string_view>

#include "restkv/result.h"

namespace restkv {

// The longest line for which there is room, in bytes.
inline constexpr std::size_t kLongestLine = std::size_t{1} << 20;

// Whether libllama cuts words for this kind of vocabulary (tokenizer.ggml.pre) without recursion:
// by loops of its own, or by expressions of one character. False for names that are not known.
[[nodiscard]] bool splits_without_recursion(std::string_view pre);

// Bytes of the longest part of a text that no word of any splitter goes beyond. Nearly always that
// is the longest line; lines that begin with white space, '/' or a character beyond ASCII count as
// part of the one before.
[[nodiscard]] std::size_t longest_stretch(std::string_view text);

// Calls body() where the splitters have room for a stretch of that many bytes: on the calling
// thread, or on one of its own with a large stack, of which only what is used takes memory, and
// waits for it. kInvalidArgument for more than kLongestLine, kOutOfMemory when there is no room for
// the thread; body() was not called then. REQUIRES: body does not throw.
Result<void> call_with_stack(std::size_t stretch, const std::function<void()>& body);

}  // namespace restkv
