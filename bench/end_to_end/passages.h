#pragma once

// Passages of a text, as the programs that measure recall read them.

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/calibration.h"
#include "cli/flags.h"
#include "cli/number_lists.h"
#include "cli/options.h"
#include "cli/session.h"

namespace restkv {

struct PassageOptions {
  CommonOptions common;
  std::string file;
  std::vector<long long> contexts;  // tokens of a passage
};

// Behind the flags of the program itself. `least`: tokens of the shortest passage that it can use.
inline void add_passage_flags(FlagSet& flags, PassageOptions& options, long long least) {
  flags.add_text({"-f", "--file"}, "FNAME", "text, or a SQuAD file, whose paragraphs are read",
                 &options.file);
  std::string usual;
  for (const long long context : options.contexts) {
    usual += (usual.empty() ? "" : ",") + std::to_string(context);
  }
  flags.add({.names = {"--contexts"},
             .value_name = "N,...",
             .help = "tokens of a passage (" + usual + ")",
             .environment = "",
             .set = [&options, least](std::string_view text) -> Result<void> {
               RESTKV_ASSIGN(options.contexts,
                             parse_number_list("--contexts", text, least, 1 << 30));
               return {};
             }});
}

// A text as a model sees it.
struct OpenedText {
  std::string name;
  Session session;
  std::vector<Token> tokens;
};
inline Result<OpenedText> open_text(const PassageOptions& options,
                                    const std::atomic<bool>& cancel) {
  std::string name;
  RESTKV_ASSIGN(const std::string text, calibration_text(options.file, name));
  RESTKV_ASSIGN(Session session, Session::open(options.common, cancel));
  RESTKV_ASSIGN(
      std::vector<Token> tokens,
      session.vocabulary->tokenize(text, {.special = SpecialText::kPlain, .bos = Bos::kByModel}));
  return OpenedText{
      .name = std::move(name), .session = std::move(session), .tokens = std::move(tokens)};
}

// Gives `read` the passages of one length that begin at these tokens, and says on stderr how far it
// is.
inline Result<void> for_each_passage(
    std::span<const Token> tokens, std::span<const std::size_t> begins, std::size_t length,
    const std::function<Result<void>(std::span<const Token>)>& read) {
  for (std::size_t i = 0; i < begins.size(); ++i) {
    RESTKV_TRY(read(tokens.subspan(begins[i], length)));
    std::fprintf(stderr, "%zu of %zu passages of %zu tokens\n", i + 1, begins.size(), length);
  }
  return {};
}

}  // namespace restkv
