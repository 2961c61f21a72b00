#include "cli/questions.h"

#include <algorithm>

namespace restkv {

std::string_view query_mode_name(QueryMode mode) {
  return mode == QueryMode::kAware ? "aware" : "agnostic";
}

Result<QueryMode> parse_query_mode(std::string_view name) {
  for (const QueryMode mode : {QueryMode::kAware, QueryMode::kAgnostic}) {
    if (query_mode_name(mode) == name) return mode;
  }
  return Error{ErrorCode::kInvalidArgument,
               "unknown mode '" + std::string(name) + "' (known: aware, agnostic)"};
}

Result<PromptParts> prompt_parts(const Session& session, const PromptOptions& options,
                                 const std::string& document, QueryMode mode) {
  PromptParts parts;
  if (mode == QueryMode::kAware) {
    RESTKV_ASSIGN(parts.text,
                  session.first_prompt(options, user_message(document, options.prompt)));
    return parts;
  }
  // No text can hold the end of a message: where the prompt of the document alone goes its own way,
  // the document is over.
  RESTKV_ASSIGN(parts.text, session.first_prompt(options, document));
  std::size_t common = parts.text.size();
  for (const std::string& question : options.prompts) {
    RESTKV_ASSIGN(std::vector<Token> tokens,
                  session.first_prompt(options, user_message(document, question)));
    const auto apart = std::ranges::mismatch(parts.text, tokens).in1 - parts.text.begin();
    common = std::min(common, static_cast<std::size_t>(apart));
    parts.questions.push_back(std::move(tokens));
  }
  if (common == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 options.file + ": too short to be read before the question"};
  }
  parts.text.resize(common);
  for (std::vector<Token>& tokens : parts.questions) {
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(common));
  }
  return parts;
}

}  // namespace restkv
