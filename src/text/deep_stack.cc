#include "text/deep_stack.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <string>

namespace restkv {
namespace {

// Measured over all splitters of libllama, built by GCC 12 with -O3: 323 bytes for each character
// of a word. Half as much again for other compilers.
constexpr std::size_t kStackPerCharacter = 512;
constexpr std::size_t kStackForTheRest = std::size_t{1} << 20;
// For so much no thread is worth its while: 1 MiB, where threads have 8 MiB.
constexpr std::size_t kShort = 2048;

constexpr std::array<std::string_view, 11> kIterative = {
    "deepseek-r1-qwen", "falcon3", "gemma4", "gpt-2",  "llama-bpe", "llama-v3",
    "llama3",           "qwen2",   "qwen35", "smollm", "starcoder"};

// Where a word that holds a line end may go on behind it.
bool may_go_on(char next) {
  return next == ' ' || (next >= '\t' && next <= '\r') || next == '/' ||
         static_cast<unsigned char>(next) >= 0x80;
}

void* run(void* body) {
  (*static_cast<const std::function<void()>*>(body))();
  return nullptr;
}

}  // namespace

bool splits_without_recursion(std::string_view pre) {
  return std::ranges::find(kIterative, pre) != kIterative.end();
}

std::size_t longest_stretch(std::string_view text) {
  std::size_t longest = 0;
  std::size_t begin = 0;
  for (std::size_t at = text.find('\n'); at != std::string_view::npos;
       at = text.find('\n', at + 1)) {
    if (at + 1 < text.size() && may_go_on(text[at + 1])) continue;
    longest = std::max(longest, at + 1 - begin);
    begin = at + 1;
  }
  return std::max(longest, text.size() - begin);
}

Result<void> call_with_stack(std::size_t stretch, const std::function<void()>& body) {
  if (stretch > kLongestLine) {
    return Error{ErrorCode::kInvalidArgument, "a line of " + std::to_string(stretch) +
                                                  " bytes: this vocabulary cuts lines of at most " +
                                                  std::to_string(kLongestLine) +
                                                  " bytes into words"};
  }
  if (stretch <= kShort) {
    body();
    return {};
  }
  const std::size_t bytes = kStackForTheRest + stretch * kStackPerCharacter;
  pthread_attr_t attributes;
  pthread_t thread;
  bool started = pthread_attr_init(&attributes) == 0;
  if (started) {
    started =
        pthread_attr_setstacksize(&attributes, bytes) == 0 &&
        pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&body)) == 0;
    pthread_attr_destroy(&attributes);
  }
  if (!started) {
    return Error{ErrorCode::kOutOfMemory, "a line of " + std::to_string(stretch) +
                                              " bytes: no room for a stack of " +
                                              std::to_string(bytes >> 20) + " MiB to cut it"};
  }
  pthread_join(thread, nullptr);
  return {};
}

}  // namespace restkv
