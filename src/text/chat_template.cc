#include "text/chat_template.h"

#include <llama.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/spaces.h"

namespace restkv {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// A stand-in for the content of message i. The control characters occur in no template, and the
// vertical tabs are white space: where they are missing afterwards, the template trims.
constexpr char kPad = '\v';
std::string stand_in(std::size_t i) {
  std::string mark(1, '\x02');
  mark += std::to_string(i);
  mark += '\x03';
  return mark;
}

// libllama's renderer. nullopt when it does not know the template.
std::optional<std::string> render_text(const std::string& chat_template,
                                       std::span<const Role> roles,
                                       std::span<const std::string> contents) {
  std::vector<llama_chat_message> chat;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    chat.push_back({role_name(roles[i]), contents[i].c_str()});
  }
  const auto apply = [&](char* out, std::int32_t size) {
    return llama_chat_apply_template(chat_template.c_str(), chat.data(), chat.size(),
                                     /*add_ass=*/true, out, size);
  };
  const std::int32_t size = apply(nullptr, 0);
  if (size < 0) return std::nullopt;
  std::string text(static_cast<std::size_t>(size) + 1, '\0');
  apply(text.data(), size + 1);
  text.pop_back();
  return text;
}

std::string what_to_do() {
  std::string text = "choose one with --chat-template:";
  for (const std::string& name : builtin_chat_templates()) text += " " + name;
  return text;
}

}  // namespace

const char* role_name(Role role) {
  switch (role) {
    case Role::kSystem: return "system";
    case Role::kUser: return "user";
    case Role::kAssistant: return "assistant";
  }
  return "?";
}

std::optional<Role> role_by_name(std::string_view name) {
  for (const Role role : {Role::kSystem, Role::kUser, Role::kAssistant}) {
    if (name == role_name(role)) return role;
  }
  return std::nullopt;
}

std::vector<std::string> builtin_chat_templates() {
  std::vector<const char*> names(
      static_cast<std::size_t>(llama_chat_builtin_templates(nullptr, 0)));
  llama_chat_builtin_templates(names.data(), names.size());
  std::vector<std::string> result(names.begin(), names.end());
  std::sort(result.begin(), result.end());
  return result;
}

Result<ChatTemplate> ChatTemplate::make(std::shared_ptr<const Vocabulary> vocabulary,
                                        std::string_view name) {
  if (!name.empty()) {
    const std::vector<std::string> known = builtin_chat_templates();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return Error{ErrorCode::kInvalidArgument,
                   "unknown chat template '" + std::string(name) + "'; " + what_to_do()};
    }
    return ChatTemplate(std::move(vocabulary), std::string(name),
                        "chat template '" + std::string(name) + "'");
  }
  std::string text = vocabulary->chat_template();
  if (text.empty()) {
    return Error{ErrorCode::kUnsupported, "the model's file has no chat template; " + what_to_do()};
  }
  const Role role = Role::kUser;
  const std::string content = "?";
  if (!render_text(text, {&role, 1}, {&content, 1})) {
    return Error{ErrorCode::kUnsupported,
                 "libllama does not know the model's chat template; " + what_to_do()};
  }
  return ChatTemplate(std::move(vocabulary), std::move(text), "the model's chat template");
}

ChatTemplate::ChatTemplate(std::shared_ptr<const Vocabulary> vocabulary,
                           std::string libllama_template, std::string label)
    : vocabulary_(std::move(vocabulary)),
      template_(std::move(libllama_template)),
      label_(std::move(label)),
      marks_(find_marks()) {}

Result<Prompt> ChatTemplate::render(std::span<const Message> messages) const {
  if (messages.empty()) return Error{ErrorCode::kInvalidArgument, "a conversation without message"};
  RESTKV_ASSIGN(const Cut conversation, cut(messages, /*generated=*/messages.size()));
  RESTKV_ASSIGN(TokenizedSegments body,
                tokenize_segments(*vocabulary_, conversation.segments, TextStart::kFresh, marks_));
  Prompt prompt;
  const std::optional<Token> bos = vocabulary_->bos();
  const bool has_bos = !body.tokens.empty() && body.tokens.front() == bos;
  const std::size_t shift = vocabulary_->adds_bos() && !has_bos ? 1 : 0;
  if (shift == 1) prompt.tokens.push_back(*bos);
  prompt.tokens.insert(prompt.tokens.end(), body.tokens.begin(), body.tokens.end());
  for (const std::optional<std::size_t>& segment : conversation.content_of) {
    const TokenSpan span = segment ? body.spans[*segment] : TokenSpan{};
    prompt.contents.push_back({span.begin + shift, span.end + shift});
  }
  return prompt;
}

Result<Prompt> ChatTemplate::turn_suffix(std::span<const Message> messages, std::size_t answered,
                                         Token last_token) const {
  RESTKV_CHECK(answered > 0 && answered <= messages.size());
  RESTKV_CHECK(messages[answered - 1].role == Role::kAssistant);
  RESTKV_ASSIGN(Cut conversation, cut(messages, /*generated=*/answered - 1));
  // What follows the answer; the template's text right behind it is always a segment, perhaps
  // empty.
  const std::size_t first = *conversation.content_of[answered - 1] + 1;
  const std::span<Segment> rest = std::span(conversation.segments).subspan(first);
  const TextStart start = drop_repeated_end(rest.front().text, last_token);
  RESTKV_ASSIGN(TokenizedSegments body, tokenize_segments(*vocabulary_, rest, start, marks_));
  Prompt prompt{.tokens = std::move(body.tokens), .contents = {}};
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::optional<std::size_t>& segment = conversation.content_of[i];
    prompt.contents.push_back(i >= answered && segment ? body.spans[*segment - first]
                                                       : TokenSpan{});
  }
  return prompt;
}

TextStart ChatTemplate::drop_repeated_end(std::string& closing, Token last) const {
  const SpecialToken* end = vocabulary_->special(last);
  if (end == nullptr) return TextStart::kContinues;
  const std::vector<Token> specials = special_tokens_in(*vocabulary_, closing);
  const std::size_t at = closing.find(end->text);
  if (!specials.empty() && specials.front() == last && is_blank(closing.substr(0, at))) {
    closing.erase(0, at + end->text.size());
    while (end->strips_right && !closing.empty() && is_space(closing.front())) closing.erase(0, 1);
  }
  return TextStart::kFresh;
}

// Every message's content is rendered as a stand-in that no content can contain, because no content
// is rendered. Only blank contents go in as they are: some templates treat an empty message
// differently.
Result<ChatTemplate::Cut> ChatTemplate::cut(std::span<const Message> messages,
                                            std::size_t generated) const {
  std::vector<Role> roles;
  std::vector<std::string> contents;
  const auto stands_in = [&](std::size_t i) {
    return i == generated || !is_blank(messages[i].content);
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    roles.push_back(messages[i].role);
    contents.push_back(stands_in(i) ? kPad + stand_in(i) + kPad : messages[i].content);
  }
  const std::optional<std::string> text = render_text(template_, roles, contents);
  if (!text) return Error{ErrorCode::kUnsupported, label_ + " is not known to libllama"};

  Cut result;
  result.content_of.resize(messages.size());
  std::string_view rest = *text;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!stands_in(i)) continue;
    const std::string mark = stand_in(i);
    const std::size_t at = rest.find(mark);
    if (at == std::string_view::npos) {
      return Error{ErrorCode::kUnsupported, label_ + " has no place for this " +
                                                role_name(messages[i].role) + " message (number " +
                                                std::to_string(i + 1) + ")"};
    }
    std::string_view before = rest.substr(0, at);
    std::string_view after = rest.substr(at + mark.size());
    const bool keeps_left = before.ends_with(kPad);
    const bool keeps_right = after.starts_with(kPad);
    if (keeps_left) before.remove_suffix(1);
    if (keeps_right) after.remove_prefix(1);
    const std::string_view content = messages[i].content;
    result.segments.push_back({Segment::Source::kTemplate, std::string(before)});
    result.content_of[i] = result.segments.size();
    result.segments.push_back(
        {Segment::Source::kContent,
         std::string(keeps_left || keeps_right ? content : trimmed(content))});
    rest = after;
  }
  result.segments.push_back({Segment::Source::kTemplate, std::string(rest)});
  return result;
}

// In some files the marks of the template are user-defined tokens, not control tokens, and libllama
// matches those in any text. They are known by their use: by this template as rendered, or anywhere
// in the text of the model's own template (tool calls, for instance).
std::set<Token> ChatTemplate::find_marks() const {
  std::set<Token> marks;
  const std::vector<Role> roles = {Role::kSystem, Role::kUser, Role::kAssistant, Role::kUser};
  const std::vector<std::string> contents(roles.size(), "x");
  const std::string rendered = render_text(template_, roles, contents).value_or("");
  for (const Token token : special_tokens_in(*vocabulary_, rendered)) marks.insert(token);
  const std::string& source = vocabulary_->chat_template();
  for (const SpecialToken& special : vocabulary_->special_tokens()) {
    if (special.kind != SpecialToken::Kind::kUserDefined || is_blank(special.text)) continue;
    if (source.find(special.text) != std::string::npos) marks.insert(special.id);
  }
  return marks;
}

}  // namespace restkv
