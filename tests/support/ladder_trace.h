#pragma once

// Traces of LaCache's published code among the golden data: which source positions each layer holds
// after so many tokens.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/golden.h"

namespace restkv {

// What the name of a trace says: "lacache.ppl.L24.M128.S8.O4.st4.bytoken.n200".
struct LadderTrace {
  std::size_t layers = 0;
  std::size_t size = 0;  // as asked for
  std::size_t span = 0;
  std::size_t overlap = 0;
  std::size_t start = 0;
  std::size_t one_shot = 0;  // tokens of the first call; 0: one
  std::size_t tokens = 0;
  std::string run;  // the name without the number of tokens: the same for traces of one run

  // Rows that a group loses, by the definition of the golden data.
  [[nodiscard]] std::size_t gain() const;
  // At the first overflow the published cache grows so that its mean length is the size.
  [[nodiscard]] std::size_t grown() const { return size + gain() / 2; }
};
// A name that is no such trace fails the test.
[[nodiscard]] LadderTrace parse_ladder_trace(const std::string& name);

// The rows of each layer. Out of order and twice where the published code has it so.
[[nodiscard]] std::vector<std::vector<std::uint32_t>> ladder_rows(const GoldenTensor& tensor);

}  // namespace restkv
