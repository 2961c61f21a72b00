#pragma once

// Lists of whole numbers as llama-bench writes them.

#include <string_view>
#include <utility>
#include <vector>

#include "restkv/budget.h"
#include "restkv/result.h"

namespace restkv {

// "512", "512,2048", "1-4" (every number), "1-9+2" (steps of 2), "8-64*2" (doubling), and any of
// these after one another. kInvalidArgument, naming the flag, for anything else: numbers outside
// [least, most], a range that runs down or stands still, more than 10000 numbers.
Result<std::vector<long long>> parse_number_list(std::string_view flag, std::string_view text,
                                                 long long least, long long most);

// Budgets: "1024" or "10%" (Budget::parse), ranges of tokens like "128-1024*2", and any of these
// after one another. kInvalidArgument as above, naming the flag, or as Budget::parse().
Result<std::vector<Budget>> parse_budget_list(std::string_view flag, std::string_view text);

// "512,128": two numbers. kInvalidArgument as above.
Result<std::pair<long long, long long>> parse_number_pair(std::string_view flag,
                                                          std::string_view text, long long most);

}  // namespace restkv
