#pragma once

// Two scores that are both called ROUGE-L and are far apart.

#include <string_view>

#include "restkv/result.h"

namespace restkv {

// The value f of "rouge-l" as the Python package `rouge` 1.0.1 computes it, and LongBench with it:
// sentences end at full stops; for each pair of sentences the words of one longest common
// subsequence go into one set, whose size is divided by the numbers of different words. 0 when a
// side has no sentence.
//
// kUnsupported when the product of the numbers of words is above 2^30.
Result<double> rouge_l_of_sets(std::u32string_view prediction, std::u32string_view answer);

// F of "rougeLsum" as google-research/rouge computes it without a stemmer (Lin 2004, section 3.2):
// sentences are lines, words are runs of a-z0-9, and the union of common subsequences is counted
// with the words' frequencies clipped. 0 when a side has no word. kUnsupported as above.
Result<double> rouge_l_of_summaries(std::u32string_view prediction, std::u32string_view answer);

}  // namespace restkv
