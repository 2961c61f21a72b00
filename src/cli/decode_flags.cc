#include "cli/decode_flags.h"

#include <utility>

#include "base/names.h"
#include "eval/block_table_file.h"

namespace restkv {

void add_decode_flags(FlagSet& flags, DecodeFlags& options) {
  flags.add_text(
      {"--decode-attn"}, "NAME[:OPT=V]",
      "what a step reads of the cache: " + listed(all_decode_methods(), &DecodeMethodInfo::name) +
          " (" + options.method + ")",
      &options.method, "RESTKV_ARG_DECODE_ATTN");
  flags.add_text({"--decode-budget"}, "N|P%",
                 "rows that a KV head reads in a step, or percent of what it holds (quest and "
                 "arkvale 1024, ab-sparse 4%)",
                 &options.budget, "RESTKV_ARG_DECODE_BUDGET");
  flags.add_text({"--decode-table"}, "FNAME",
                 "block sizes of ab-sparse, as restkv calibrate writes them (default: one size)",
                 &options.table, "RESTKV_ARG_DECODE_TABLE");
}

Result<DecodeOptions> parse_decode_flags(const DecodeFlags& flags) {
  DecodeOptions options;
  RESTKV_ASSIGN(NamedParams named, parse_named_params(flags.method));
  options.method = std::move(named.name);
  options.method_options = std::move(named.assignments);
  if (!flags.budget.empty()) {
    RESTKV_ASSIGN(options.budget, Budget::parse(flags.budget));
  }
  if (!flags.table.empty()) {
    RESTKV_ASSIGN(BlockTable table, read_block_table(flags.table));
    options.table = std::make_shared<const BlockTable>(std::move(table));
  }
  return options;
}

}  // namespace restkv
