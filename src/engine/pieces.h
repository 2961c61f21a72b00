#pragma once

// A prefill in pieces: Schedule::Kind::kChunk.

#include <vector>

#include "engine/state.h"

namespace restkv {

// Reads the tokens on top of `start` in pieces of the schedule's interval; after each the method is
// applied to all rows held. A last piece shorter than the window is read with the one before it, so
// that every score sees a whole window of queries. Report and timings cover all pieces.
// REQUIRES: the variant's schedule is kChunk. `start` is left as it was.
Result<Sequence::State> read_in_pieces(Engine::State& engine, const Sequence::State& start,
                                       std::span<const Token> tokens, const PrefillOptions& options,
                                       std::vector<float>& last_logits);

}  // namespace restkv
