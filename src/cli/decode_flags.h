#pragma once

// The flags that say what decode reads, and what they come to.

#include <string>

#include "cli/flags.h"
#include "restkv/decode_options.h"
#include "restkv/result.h"

namespace restkv {

// As typed.
struct DecodeFlags {
  std::string method = "dense";
  std::string budget;  // empty: the method's default
  std::string table;   // file of block sizes; empty: one size for all
};

void add_decode_flags(FlagSet& flags, DecodeFlags& options);

// kInvalidArgument: unknown method, options or budget. kNotFound, kIo, kCorrupt: the table's file.
Result<DecodeOptions> parse_decode_flags(const DecodeFlags& flags);

}  // namespace restkv
