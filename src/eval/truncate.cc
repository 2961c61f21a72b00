#include "eval/truncate.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/generate.h"

namespace restkv {
namespace {

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

// Bytes that the character beginning with c has in UTF-8.
std::size_t character_bytes(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0xF0U) return 4;
  if (byte >= 0xE0U) return 3;
  return byte >= 0xC0U ? 2 : 1;
}

void drop_broken_end(std::string& text) {
  std::size_t begin = text.size();
  while (begin > 0 && text.size() - begin < 3 && continues_character(text[begin - 1])) --begin;
  if (begin > 0 && character_bytes(text[begin - 1]) > text.size() - begin + 1) {
    text.resize(begin - 1);
  }
}

void drop_broken_start(std::string& text) {
  std::size_t begin = 0;
  while (begin < text.size() && begin < 3 && continues_character(text[begin])) ++begin;
  text.erase(0, begin);
}

}  // namespace

Cut truncate_middle(TaskSample& sample, std::size_t cap, const TaskRequest& request) {
  const std::vector<Token> tokens = request.tokenizer.tokenize(sample.prompt());
  if (tokens.size() <= cap) return Cut::kNothing;
  const std::span<const Token> all = tokens;
  std::string head = request.tokenizer.detokenize(all.first(cap / 2));
  std::string tail = request.tokenizer.detokenize(all.last(cap / 2));
  drop_broken_end(head);
  drop_broken_start(tail);
  // A vocabulary may swallow blanks: the tail is looked for by its end, which is the prefix.
  if (tail.ends_with(sample.answer_prefix)) {
    tail.resize(tail.size() - sample.answer_prefix.size());
  }
  if (tail.size() >= sample.question.size() && tail.ends_with(sample.question)) {
    sample.context = std::move(head) + tail.substr(0, tail.size() - sample.question.size());
  } else {
    sample.context = std::move(head);
    sample.question = std::move(tail);
  }
  return Cut::kMiddle;
}

Result<void> fit_to_length(TaskSample& sample, std::size_t length, const TaskRequest& request) {
  sample.length = length;
  if (length != 0) {
    const std::size_t taken = request.template_tokens + sample.max_new_tokens +
                              2 * request.tokenizer.count(sample.answer_prefix);
    if (length < taken + 2) {
      return Error{ErrorCode::kInvalidArgument,
                   "a length of " + std::to_string(length) +
                       " tokens leaves no room for a prompt: " + std::to_string(taken) +
                       " are taken by the template and the answer"};
    }
    std::size_t cap = length - request.template_tokens - sample.max_new_tokens;
    // A prompt tokenised anew may have grown: cut it again, by what it was too long.
    for (int attempt = 0; attempt < 4; ++attempt) {
      TaskSample cut = sample;
      truncate_middle(cut, cap, request);
      count_tokens(cut, request);
      if (cut.tokens <= length || cap < 4) {
        sample = std::move(cut);
        return {};
      }
      cap -= std::min(cap - 2, cut.tokens - length);
    }
  }
  count_tokens(sample, request);
  return {};
}

}  // namespace restkv
