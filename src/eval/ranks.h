#pragma once

// Processes that share one run. Rank 0 owns the store and hands out prompts; the others read them
// and send the rows back. What carries the messages (MPI) is not known here.

#include <optional>
#include <string>

namespace restkv {

struct RankMessage {
  int rank = 0;  // who sent it
  std::string bytes;
};

// Calls may come from several threads, one at a time.
class Ranks {
 public:
  Ranks() = default;
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  virtual ~Ranks() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int count() const = 0;  // at least 1
  // Messages from one rank to another arrive in their order. May wait until the other receives.
  virtual void send(int rank, const std::string& bytes) = 0;
  // The next message that has come, from any rank; nothing when there is none. Does not wait.
  virtual std::optional<RankMessage> receive() = 0;
  // Ends the processes of all ranks, this one too, with this status: one of them cannot go on.
  virtual void abandon(int status) = 0;
};

}  // namespace restkv
