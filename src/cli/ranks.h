#pragma once

// The ranks of a command that was started by mpirun.

#include <cstddef>
#include <memory>

#include "eval/ranks.h"
#include "restkv/result.h"

namespace restkv {

// How many processes mpirun has started, as it says in their environment; 0 when it was not mpirun
// that started this one.
std::size_t ranks_in_environment();

// Null when mpirun did not start this process, or only this one: then MPI is not touched.
// kUnsupported when it did and the program was built without MPI, or with one that allows no
// threads. At most once in a process. The destructor waits for the other ranks.
Result<std::unique_ptr<Ranks>> join_ranks();

// Rank 0 of several, or a process of its own.
[[nodiscard]] inline bool leads(const Ranks* ranks) {
  return ranks == nullptr || ranks->rank() == 0;
}

// What a command ends with: its status, or an error as one line on stderr. An error ends the other
// ranks too: they may be waiting for this one.
int end_command(const Result<int>& status, Ranks* ranks);

}  // namespace restkv
