#pragma once

// The commands: each takes the arguments that follow its name and returns the exit status.
//   0 done, 1 failed, 2 wrong usage, 130 interrupted, by SIGINT or SIGTERM

#include <optional>
#include <span>
#include <string_view>

#include "restkv/result.h"

namespace restkv {

class FlagSet;

using Arguments = std::span<const std::string_view>;

int run_command(Arguments args);
int chat_command(Arguments args);
int perplexity_command(Arguments args);
int policies_command(Arguments args);
int demo_command(Arguments args);
int bench_command(Arguments args);
int eval_command(Arguments args);
int report_command(Arguments args);
int study_command(Arguments args);
int calibrate_command(Arguments args);

inline constexpr const char* kVersion = "0.1.0";

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

// Prints "restkv: <message>" on stderr and returns the status that goes with the code.
int report_error(const Error& error);
// The same for what was wrong with a command line, before any work: always kExitUsage.
int report_usage(const Error& error);
// Reads a command line. A status when the command ends with it: something was wrong and has been
// reported, or `help`, which a flag sets, asked for the text that has been printed.
std::optional<int> read_flags(FlagSet& flags, Arguments args, const bool& help);
// Says on stderr what of the command line has no effect.
void print_notices(const FlagSet& flags);

}  // namespace restkv
