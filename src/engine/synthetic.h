#pragma once

// Caches that no model has filled, for measurements at a depth that would take an hour to read.

#include <cstddef>
#include <memory>

#include "engine/state.h"

namespace restkv {

// As Engine::synthetic_sequence() says.
Result<Sequence::State> make_synthetic_sequence(Engine::State& engine,
                                                std::shared_ptr<const Variant> variant,
                                                std::size_t n_token);

}  // namespace restkv
