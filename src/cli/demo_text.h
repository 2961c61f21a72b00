#pragma once

// The demo's document: a harbour's logbook with a few facts hidden among everyday entries. All of
// it is made here, from one seed, so that everybody sees the same.

#include <cstddef>
#include <cstdint>
#include <string>

namespace restkv {

struct DemoText {
  std::string document;
  std::string question;
  std::string answer;  // what a right answer contains
};

// entries: lines of the logbook (about 28 tokens each).
DemoText make_demo_text(std::size_t entries, std::uint64_t seed);

}  // namespace restkv
