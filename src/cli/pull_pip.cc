// One wheel by pip, as a child process that can be watched and stopped.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cli/pull_parts.h"

namespace restkv {
namespace {

constexpr std::chrono::milliseconds kLookEvery{100};

// The environment of this process with TMPDIR replaced: pip's unfinished download is then in a
// folder where its growth can be seen, and that is removed whatever happens to pip.
std::vector<std::string> environment_with_tmpdir(const std::filesystem::path& folder) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("TMPDIR=")) {
      environment.emplace_back(*entry);
    }
  }
  environment.push_back("TMPDIR=" + folder.string());
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& string : strings) {
    result.push_back(string.data());
  }
  result.push_back(nullptr);
  return result;
}

// Starts a program of PATH in a process group of its own, so that a terminal's Ctrl-C reaches only
// us and stopping it stops its children too. Its output goes to the log.
Result<pid_t> start(std::vector<std::string> arguments, std::vector<std::string> environment,
                    const std::filesystem::path& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t child = 0;
  const int code = posix_spawnp(&child, arguments.front().c_str(), &actions, &attributes,
                                pointers(arguments).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    return Error{ErrorCode::kNotFound,
                 arguments.front() + ": " + std::generic_category().message(code)};
  }
  return child;
}

std::uint64_t bytes_below(const std::filesystem::path& folder) {
  std::uint64_t total = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator i(folder, error), end; !error && i != end;
       i.increment(error)) {
    std::error_code gone;  // pip moves its files while we look
    const auto size = i->file_size(gone);
    total += gone ? 0 : size;
  }
  return total;
}

// Waits for the child, telling how much it has brought. kCancelled after the child has been
// stopped.
Result<int> watch_child(pid_t child, const PartRequest& request) {
  while (true) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    if (ended < 0 && errno != EINTR) {
      return Error{ErrorCode::kInternal, "lost sight of pip"};
    }
    if (request.cancel != nullptr && request.cancel->load(std::memory_order_relaxed)) {
      kill(-child, SIGTERM);
      waitpid(child, &status, 0);
      return Error{ErrorCode::kCancelled, "stopped while fetching " + request.package};
    }
    if (request.on_bytes) {
      request.on_bytes(bytes_below(request.folder));
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

// pip's last error, else its last line. Without a network pip says that there is no such package,
// after it has warned of each attempt.
std::string reason(const std::filesystem::path& log) {
  std::ifstream file(log);
  std::string last;
  std::string last_error;
  bool connection_broken = false;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) {
      last = line;
    }
    connection_broken |= line.find("after connection broken by") != std::string::npos;
    if (line.starts_with("ERROR:")) {
      last_error = line.substr(line.find_first_not_of(' ', 6));
    }
  }
  if (connection_broken && last_error.starts_with("No matching distribution")) {
    return "the package index cannot be reached";
  }
  return last_error.empty() ? last : last_error;
}

}  // namespace

Result<std::filesystem::path> fetch_part_with_pip(const PartRequest& request) {
  const std::filesystem::path temporary = request.folder / "tmp";
  const std::filesystem::path log = request.folder / "pip.log";
  std::error_code error;
  std::filesystem::create_directory(temporary, error);
  const std::vector<std::string> arguments = {"python3",      "-m",
                                              "pip",          "--disable-pip-version-check",
                                              "--no-input",   "download",
                                              "--quiet",      "--progress-bar",
                                              "off",          "--no-cache-dir",
                                              "--no-deps",    "--only-binary",
                                              ":all:",        "--dest",
                                              request.folder, request.package};
  RESTKV_ASSIGN(const pid_t child, start(arguments, environment_with_tmpdir(temporary), log));
  RESTKV_ASSIGN(const int status, watch_child(child, request));
  if (status != 0) {
    return Error{ErrorCode::kNotFound,
                 "pip could not fetch " + request.package + ": " + reason(log)};
  }
  for (const auto& entry : std::filesystem::directory_iterator(request.folder, error)) {
    if (entry.path().extension() == ".whl") {
      return entry.path();
    }
  }
  return Error{ErrorCode::kNotFound, "pip brought no wheel for " + request.package};
}

}  // namespace restkv
