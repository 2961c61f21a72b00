#pragma once

// How alike two short texts are: twice the matching characters over all characters.

#include <string_view>

#include "restkv/result.h"

namespace restkv {

// ratio() of Python's difflib.SequenceMatcher(None, a, b): Ratcliff and Obershelp's matching
// blocks; in a `b` of 200 characters and more, a character that makes up more than a hundredth of
// it (and one occurrence more) begins no block. 1 for two empty texts. Not symmetric.
//
// kUnsupported when the product of the lengths is above 2^24.
Result<double> difflib_ratio(std::u32string_view a, std::u32string_view b);

// The same with the longest common subsequence as what matches, as Levenshtein.ratio() has it.
Result<double> subsequence_ratio(std::u32string_view a, std::u32string_view b);

}  // namespace restkv
