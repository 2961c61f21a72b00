#pragma once

// The program under mpirun.

#include <sys/types.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "cli/program.h"

namespace restkv::testing {

// mpirun with this many ranks, as a user would have to call it here; empty without MPI.
inline Surroundings under_mpirun(int ranks) {
  Surroundings around;
  if (std::string_view(RESTKV_MPIRUN).empty()) return around;
  around.launcher = {RESTKV_MPIRUN,     "-n",        std::to_string(ranks),
                     "--oversubscribe", "--bind-to", "none"};
  if (::geteuid() == 0) around.launcher.emplace_back("--allow-run-as-root");
  // The sanitizers see what MPI itself never gives back.
  around.environment = {"ASAN_OPTIONS=detect_leaks=0"};
  return around;
}

// The process of a rank that has this argument, or 0. By what mpirun tells its processes.
inline pid_t process_of_rank(int rank, const std::string& argument) {
  const std::string mark = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank);
  const auto holds = [](const std::filesystem::path& path, const std::string& part) {
    std::ifstream file(path, std::ios::binary);
    std::string item;
    while (std::getline(file, item, '\0')) {
      if (item == part) return true;
    }
    return false;
  };
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (holds(entry.path() / "cmdline", argument) && holds(entry.path() / "environ", mark)) {
      return std::stoi(name);
    }
  }
  return 0;
}

}  // namespace restkv::testing
