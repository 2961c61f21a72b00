#pragma once

// What prompts that begin alike share: the keys and values of their common tokens, of all layers
// and before anything was dropped, so that only the first of them has to be read from the start.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "restkv/types.h"

namespace restkv {

// Given to Engine::prefill() with every prompt that begins with its tokens. The first prompt is
// read whole and fills it; those that follow begin behind it, with the same bits in every result.
// Beside the rows it holds what the policies of that prefill need of its queries (column sums,
// means and covariances). A prefill that needs more than it holds, or caches of another working
// type, reads the prompt whole and fills it anew; what was there goes first, so that there are
// never two, also when that prefill then fails.
//
// Its bytes are those of a full cache of its tokens, in f16 (f32 for f32 caches), and are counted
// by the engine for as long as it lives. Move only; belongs to the engine that filled it, which
// must outlive it. Not thread-safe.
class SharedPrefix {
 public:
  // How many tokens may be shared: Engine::shareable_tokens().
  explicit SharedPrefix(std::span<const Token> tokens);
  SharedPrefix(SharedPrefix&&) noexcept;
  SharedPrefix& operator=(SharedPrefix&&) noexcept;
  ~SharedPrefix();

  [[nodiscard]] std::span<const Token> tokens() const { return tokens_; }
  [[nodiscard]] std::size_t bytes() const;  // 0 until a prompt has filled it

  struct State;

 private:
  friend class PrefillRun;
  std::vector<Token> tokens_;
  std::unique_ptr<State> state_;  // null until a prompt has filled it
};

}  // namespace restkv
