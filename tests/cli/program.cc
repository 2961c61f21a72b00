#include "cli/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/check.h"
#include "support/process_folder.h"
#include "support/tiny_llama.h"

namespace restkv::testing {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void redirect(int descriptor, const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(126);
}

std::string filled_folder() {
  const std::filesystem::path& path = process_folder();
  std::filesystem::create_directories(path / "folder");
  std::ofstream(path / "empty.txt");
  std::ofstream(path / "empty.gguf");
  std::ofstream(path / "ends.txt") << "\n\r\n\n";
  std::ofstream text(path / "text.txt");
  for (int i = 0; i < 40; ++i) text << "the quick brown fox jumps over the lazy dog\n";
  std::ofstream long_text(path / "long.txt");
  for (int i = 0; i < 120; ++i) long_text << "the quick brown fox jumps over the lazy dog\n";
  RESTKV_CHECK(tiny_llama().file().write((path / "tiny.gguf").string()).ok());
  return path.string();
}

}  // namespace

const std::string& scratch_folder() {
  static const std::string path = filled_folder();
  return path;
}

Program::Program(const std::vector<std::string>& args, const Surroundings& around) {
  static std::atomic<int> count{0};
  const std::string stem = scratch_folder() + "/run" + std::to_string(++count);
  out_path_ = stem + ".out";
  err_path_ = stem + ".err";
  std::vector<std::string> words = around.launcher;
  words.emplace_back(RESTKV_PROGRAM);
  words.insert(words.end(), args.begin(), args.end());
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "HOME=" + scratch_folder(),
                                          "XDG_CACHE_HOME=" + scratch_folder()};
  environment.insert(environment.end(), around.environment.begin(), around.environment.end());
  const std::vector<char*> argv = pointers_to(words);
  const std::vector<char*> envp = pointers_to(environment);

  process_ = ::fork();
  RESTKV_CHECK(process_ >= 0);
  if (process_ != 0) return;
  redirect(STDIN_FILENO, around.input.empty() ? "/dev/null" : around.input, O_RDONLY);
  redirect(STDERR_FILENO, err_path_, O_WRONLY | O_CREAT | O_TRUNC);
  if (around.output == "-") {
    ::close(STDOUT_FILENO);
  } else {
    redirect(STDOUT_FILENO, around.output.empty() ? out_path_ : around.output,
             O_WRONLY | O_CREAT | O_TRUNC);
  }
  if (around.largest_file > 0) {
    const rlimit limit{around.largest_file, around.largest_file};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(125);
  }
  ::alarm(60);
  ::execve(argv.front(), argv.data(), envp.data());
  ::_exit(127);
}

template <typename Condition>
bool Program::wait_for(const Condition& condition) const {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        ended.si_pid != 0) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

bool Program::wait_for_handler() const {
  return wait_for([this] {
    std::ifstream status("/proc/" + std::to_string(process_) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (!line.starts_with("SigCgt:")) continue;
      const auto caught = std::stoull(line.substr(7), nullptr, 16);
      return ((caught >> (SIGINT - 1)) & 1U) != 0;
    }
    return false;
  });
}

bool Program::wait_for_output() const {
  return wait_for([this] { return !content_of(out_path_).empty(); });
}

bool Program::wait_for_message(const std::string& text) const {
  return wait_for([&] { return content_of(err_path_).find(text) != std::string::npos; });
}

bool Program::wait_for_more_output() const {
  const std::size_t before = content_of(out_path_).size();
  return wait_for([&] { return content_of(out_path_).size() > before; });
}

void Program::interrupt() const { ::kill(process_, SIGINT); }

void Program::terminate() const { ::kill(process_, SIGTERM); }

void Program::kill() const { ::kill(process_, SIGKILL); }

ProgramEnd Program::end() {
  int status = 0;
  RESTKV_CHECK(::waitpid(process_, &status, 0) == process_);
  return {.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
          .out = content_of(out_path_),
          .err = content_of(err_path_)};
}

}  // namespace restkv::testing
