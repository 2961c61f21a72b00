#pragma once

// The demo's document: a harbour's logbook with a few facts hidden among everyday entries. All of
// it is made here, from one seed, so that everybody sees the same.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace restkv {

struct DemoText {
  std::string document;
  std::string question;
  std::string answer;  // what a right answer contains
};

// The demo's text. entries: lines of the logbook (about 28 tokens each).
DemoText make_demo_text(std::size_t entries, std::uint64_t seed);

// A line of its own that is put into the logbook.
struct HiddenLine {
  std::string text;
  double depth = 0.5;  // 0 = before the first entry, 1 = behind the last
};
// The logbook alone, with these lines in it.
std::string make_logbook(std::size_t entries, std::uint64_t seed,
                         std::span<const HiddenLine> hidden);

}  // namespace restkv
