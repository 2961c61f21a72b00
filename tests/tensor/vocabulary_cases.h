#pragma once

// Small files whose vocabulary contradicts itself, and what is said about them.

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "support/gguf_writer.h"

namespace restkv {

// Good ones: byte-level BPE of 40 tokens; SentencePiece of 264 with a token for each byte.
GgufWriter bpe_file();
GgufWriter spm_file();

// "t0", "t1", ...
std::vector<std::string> some_tokens(std::size_t n);

// Prints as its name where a case fails.
struct VocabularyCase {
  const char* name;
  std::function<void(GgufWriter&)> change;
  std::string error;     // empty: the check passes
  bool is_spm = false;   // else byte-level BPE
  const char* end = "";  // what libllama does to the process without the check; empty: untested
};

std::ostream& operator<<(std::ostream& out, const VocabularyCase& one);

const std::vector<VocabularyCase>& vocabulary_cases();

}  // namespace restkv
