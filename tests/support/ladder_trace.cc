#include "support/ladder_trace.h"

#include <algorithm>
#include <cstdio>

#include <gtest/gtest.h>

namespace restkv {

std::size_t LadderTrace::gain() const {
  const auto divided_up = [](std::size_t a, std::size_t b) { return (a + b - 1) / b; };
  const std::size_t before = 1 + divided_up(layers - span, span - overlap);
  return before - std::min(divided_up(span, span - overlap), before);
}

LadderTrace parse_ladder_trace(const std::string& name) {
  LadderTrace trace;
  const std::size_t numbers = name.find(".L");
  EXPECT_EQ(std::sscanf(name.c_str() + numbers, ".L%zu.M%zu.S%zu.O%zu.st%zu", &trace.layers,
                        &trace.size, &trace.span, &trace.overlap, &trace.start),
            5);
  const std::size_t one_shot = name.find(".oneshot");
  if (one_shot != std::string::npos) {
    EXPECT_EQ(std::sscanf(name.c_str() + one_shot, ".oneshot%zu", &trace.one_shot), 1);
  }
  trace.run = name.substr(0, name.rfind(".n"));
  EXPECT_EQ(std::sscanf(name.c_str() + trace.run.size(), ".n%zu", &trace.tokens), 1);
  return trace;
}

std::vector<std::vector<std::uint32_t>> ladder_rows(const GoldenTensor& tensor) {
  const std::vector<std::int32_t> all = tensor.integers();
  std::vector<std::vector<std::uint32_t>> layers;
  for (std::size_t layer = 0; layer < tensor.shape[0]; ++layer) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(layer * tensor.shape[1]);
    layers.emplace_back(first, first + static_cast<std::ptrdiff_t>(tensor.shape[1]));
  }
  return layers;
}

}  // namespace restkv
