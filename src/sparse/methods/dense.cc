// Every row is read in every step.

#include "restkv/decode_options.h"

namespace restkv {

extern const DecodeMethodInfo dense_decode_method;
constinit const DecodeMethodInfo dense_decode_method{
    .name = "dense",
    .summary = "reads everything that the cache holds",
    .paper = "attention",
    .default_budget = {},
    .takes_table = false,
    .params = {},
    .plan = nullptr,
};

}  // namespace restkv
