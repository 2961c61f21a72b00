#pragma once

// One decode step of any number of sequences.

#include <span>

#include "engine/state.h"

namespace restkv {

// As Engine::decode() says.
Result<void> run_decode(Engine::State& engine, std::span<Sequence::State* const> sequences,
                        std::span<const Token> tokens, View2<float> logits);

}  // namespace restkv
