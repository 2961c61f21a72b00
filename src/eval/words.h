#pragma once

// Words for keys and vocabularies: wonderwords' lists as RULER uses them, or lists of our own.

#include <cstddef>
#include <string>
#include <vector>

#include "eval/draws.h"
#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

struct WordLists {
  std::vector<std::string> adjectives;  // each list: stripped, sorted, unique, not empty
  std::vector<std::string> nouns;
  std::vector<std::string> verbs;
  std::string source;  // "own words" or "RULER's word lists"
};

// Material::kAuto takes the lists of the data folder when all three are there; kPublished needs
// them.
Result<WordLists> load_word_lists(const TaskRequest& request);

// "brave-lantern". The two parts may hold hyphens or blanks themselves.
std::string draw_word_key(const WordLists& lists, Draws& draws);

// The i-th of 2,048,000 different words that mean nothing: "tolemin". Lower case, 6 to 9 letters.
std::string invented_word(std::size_t i);

// Nouns, adjectives and verbs, unique and sorted, then as many invented words as are needed to
// reach `least`.
std::vector<std::string> vocabulary_of(const WordLists& lists, std::size_t least);

}  // namespace restkv
