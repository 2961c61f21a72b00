// Ranks over MPI. Only the point-to-point calls of MPI-2 are used, so any implementation will do.

// The interface for C only; that for C++ wants a library of its own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <string>

#include "cli/ranks.h"

namespace restkv {
namespace {

constexpr int kTag = 1;

class MpiRanks : public Ranks {
 public:
  MpiRanks() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &count_);
  }
  ~MpiRanks() override { MPI_Finalize(); }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int count() const override { return count_; }
  // An error of MPI ends all ranks: its default.
  void send(int rank, const std::string& bytes) override {
    MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, rank, kTag, MPI_COMM_WORLD);
  }
  std::optional<RankMessage> receive() override {
    int has_come = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &has_come, &status);
    if (has_come == 0) return std::nullopt;
    int size = 0;
    MPI_Get_count(&status, MPI_BYTE, &size);
    RankMessage message{.rank = status.MPI_SOURCE,
                        .bytes = std::string(static_cast<std::size_t>(std::max(size, 0)), '\0')};
    MPI_Recv(message.bytes.data(), size, MPI_BYTE, message.rank, kTag, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return message;
  }
  void abandon(int status) override { MPI_Abort(MPI_COMM_WORLD, status); }

 private:
  int rank_ = 0;
  int count_ = 1;
};

}  // namespace

Result<std::unique_ptr<Ranks>> join_ranks() {
  if (ranks_in_environment() <= 1) return std::unique_ptr<Ranks>();
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_SERIALIZED) {
    return Error{ErrorCode::kUnsupported, "this MPI does not allow several threads"};
  }
  return std::unique_ptr<Ranks>(std::make_unique<MpiRanks>());
}

}  // namespace restkv
