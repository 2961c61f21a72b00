#pragma once

// A conversation as the tokens that the model was trained to see. libllama's built-in renderer
// writes the text around the messages; the messages themselves never pass through it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "restkv/result.h"
#include "restkv/types.h"
#include "text/segments.h"
#include "text/vocabulary.h"

namespace restkv {

enum class Role : std::uint8_t { kSystem, kUser, kAssistant };
// "system", "user", "assistant".
[[nodiscard]] const char* role_name(Role role);
// nullopt for any other name.
[[nodiscard]] std::optional<Role> role_by_name(std::string_view name);

struct Message {
  Role role = Role::kUser;
  std::string content;  // any bytes
};

struct Prompt {
  std::vector<Token> tokens;
  // [messages]: the tokens that hold the content of each message, as far as the template keeps it
  // (some trim white space). Empty for a message without content, and for one that was in the cache
  // before.
  std::vector<TokenSpan> contents;
};

// The names that --chat-template takes: libllama's list, sorted.
[[nodiscard]] std::vector<std::string> builtin_chat_templates();

// Immutable; any number of threads may call one object.
class ChatTemplate {
 public:
  // name: one of builtin_chat_templates(), or empty for the template of the model's file.
  // kInvalidArgument for another name; kUnsupported when the file has no template or one that
  // libllama does not know. All these messages name --chat-template and list what it takes.
  // REQUIRES: vocabulary is not null
  static Result<ChatTemplate> make(std::shared_ptr<const Vocabulary> vocabulary,
                                   std::string_view name);

  // The whole conversation and the beginning of the assistant's next answer. One BOS in front if
  // the model wants one. Text of a message never becomes a special token. kUnsupported when the
  // template leaves a message out, say a system message that it has no place for; kInvalidArgument
  // when there is no message; else tokenize()'s errors.
  [[nodiscard]] Result<Prompt> render(std::span<const Message> messages) const;

  // What to append to a cache that holds the first `answered` messages, the last of which is the
  // assistant's answer as the model generated it: the end of that answer, the new messages, and the
  // beginning of the next answer. The contents of earlier messages do not matter.
  // last_token: the last token in the cache. When it is the one with which the template ends the
  // answer ("<|im_end|>"), it is not repeated; when the answer was cut off or ended with another
  // token, it is supplied.
  // Errors as in render().
  // REQUIRES: 0 < answered <= messages.size(), messages[answered - 1] is the assistant's
  [[nodiscard]] Result<Prompt> turn_suffix(std::span<const Message> messages, std::size_t answered,
                                           Token last_token) const;

 private:
  ChatTemplate(std::shared_ptr<const Vocabulary> vocabulary, std::string libllama_template,
               std::string label);
  // The rendered conversation cut at its contents. `generated`: index of a message that counts as
  // not empty whatever it holds, or the number of messages.
  struct Cut {
    std::vector<Segment> segments;
    std::vector<std::optional<std::size_t>> content_of;  // [messages] index into segments
  };
  [[nodiscard]] Result<Cut> cut(std::span<const Message> messages, std::size_t generated) const;
  [[nodiscard]] std::set<Token> find_marks() const;
  // Drops the first special token of `closing`, and what stands before it, if that token is `last`.
  // Says where the rest begins.
  TextStart drop_repeated_end(std::string& closing, Token last) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::string template_;   // what libllama is told: the file's template, or a built-in name
  std::string label_;      // for messages: "the model's chat template", "chat template 'gemma'"
  std::set<Token> marks_;  // user-defined tokens that have a meaning in the template
};

}  // namespace restkv
