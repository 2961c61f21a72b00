#pragma once

// What a function does to the process that calls it, found out in another process.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace restkv::testing {

// "exit 0", "signal 6", ... Silent; a child that takes longer than `seconds` ends by signal 14. The
// function must not use threads that were started before.
template <typename Function>
std::string end_of_child(const Function& function, unsigned seconds = 60) {
  const pid_t child = ::fork();
  if (child < 0) return "no child";
  if (child == 0) {
    ::setenv("GGML_NO_BACKTRACE", "1", /*overwrite=*/1);
    const int sink = ::open("/dev/null", O_WRONLY);
    ::dup2(sink, STDOUT_FILENO);
    ::dup2(sink, STDERR_FILENO);
    ::alarm(seconds);
    ::_exit(function());
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return "lost child";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit " + std::to_string(WEXITSTATUS(status));
}

}  // namespace restkv::testing
