#pragma once

// Runs the built program as a user would.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace restkv::testing {

struct ProgramEnd {
  int status = -1;  // exit status; 128 + the signal that ended it
  std::string out;
  std::string err;
};

// What the program finds around it. Its environment holds no variable that restkv reads, except
// those named here, and no cache of models.
struct Surroundings {
  std::vector<std::string> environment;  // "NAME=value"
  std::string input;                     // a file; empty = nothing to read
  // A file; empty = what goes to ProgramEnd::out; "-" = closed
  std::string output;
  // What starts the program, with its arguments: {"/usr/bin/mpirun", "-n", "2"}. Empty = nothing.
  std::vector<std::string> launcher = {};
  std::size_t largest_file = 0;  // bytes that a file may grow to; 0 = any
};

// A program that was started; end() waits for it, and must be called.
class Program {
 public:
  explicit Program(const std::vector<std::string>& args, const Surroundings& around = {});
  // Waits until it handles SIGINT itself, and until it has printed something; false when it ended
  // before that, or after half a minute.
  [[nodiscard]] bool wait_for_handler() const;
  [[nodiscard]] bool wait_for_output() const;
  // The same for a text on stderr.
  [[nodiscard]] bool wait_for_message(const std::string& text) const;
  // Waits for more output than there is now.
  [[nodiscard]] bool wait_for_more_output() const;
  void interrupt() const;
  // SIGTERM, as `timeout` sends it.
  void terminate() const;
  // As `kill -9` does it: nothing of the program runs any more.
  void kill() const;
  ProgramEnd end();

 private:
  template <typename Condition>
  [[nodiscard]] bool wait_for(const Condition& condition) const;

  std::string out_path_;
  std::string err_path_;
  int process_ = -1;
};

inline ProgramEnd run_program(const std::vector<std::string>& args,
                              const Surroundings& around = {}) {
  return Program(args, around).end();
}

// process_folder(), filled with the model "tiny.gguf", the texts "text.txt", "long.txt" (more
// tokens than the model's context), "empty.txt", "ends.txt" (line ends only), the empty
// "empty.gguf", the folder "folder".
const std::string& scratch_folder();

}  // namespace restkv::testing
