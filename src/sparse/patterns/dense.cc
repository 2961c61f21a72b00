#include "sparse/pattern.h"

namespace restkv {

extern const PatternInfo dense_pattern;
constinit const PatternInfo dense_pattern{
    .name = "dense",
    .summary = "every query reads all rows before it",
    .paper = "exact attention",
    .needs = PatternNeeds::kNothing,
    .params = {},
    .make = nullptr,
};

}  // namespace restkv
