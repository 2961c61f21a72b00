#pragma once

// Running text to hide things in: the essays that RULER and the needle test use, or prose of our
// own, which is made here and belongs to the project.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

struct Prose {
  std::vector<std::string> words;  // not empty
  std::string source;              // "own prose" or "the essays"

  // The first n words, joined by blanks; the text starts anew when it is used up.
  [[nodiscard]] std::string first(std::size_t n) const;
};

// Material::kAuto takes the essays of the data folder when they are there; kPublished needs them.
Result<Prose> load_prose(const TaskRequest& request);

// Where sentences end: byte offsets just behind the full stop, question or exclamation mark (and a
// closing quotation mark) that a blank and then a capital letter, digit or quotation mark follow;
// and the end of the text. Ascending.
std::vector<std::size_t> sentence_ends(std::string_view text);

}  // namespace restkv
