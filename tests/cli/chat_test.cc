// Conversations with the tiny model, typed into the program.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "cli/program.h"

namespace restkv::testing {
namespace {

using Words = std::vector<std::string>;

Words chat(const Words& more) {
  Words args = {"chat",
                "-m",
                scratch_folder() + "/tiny.gguf",
                "--chat-template",
                "chatml",
                "-t",
                "1",
                "--temp",
                "0",
                "--ignore-eos",
                "--kv-budget",
                "48"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

Surroundings typed(const std::string& lines) {
  const std::string path = scratch_folder() + "/typed.txt";
  std::ofstream(path) << lines;
  return {.environment = {}, .input = path, .output = ""};
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

TEST(Chat, TurnsGoOnOnACompressedCache) {
  for (const char* policy : {"h2o", "rest-kv", "snapkv", "tova", "streaming-llm", "full"}) {
    SCOPED_TRACE(policy);
    const ProgramEnd end =
        run_program(chat({"--kv-policy", policy, "-n", "5", "-f", scratch_folder() + "/text.txt"}),
                    typed("one\ntwo\nthree\nfour\n"));
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_EQ(count(end.err, ", schedule once, mode aware; -n ended the answer]\n"), 4U) << end.err;
    EXPECT_EQ(count(end.err, "schedule   once\n"), 1U) << end.err;  // the report at the end
    EXPECT_EQ(count(end.err, "mode       aware\n"), 1U) << end.err;
    EXPECT_EQ(count(end.err, "48 kept in each head"), std::string(policy) == "full" ? 0U : 4U)
        << end.err;
    EXPECT_NE(end.err.find("answer     5 tokens"), std::string::npos) << end.err;
  }
}

TEST(Chat, CommandsAreNoMessages) {
  for (const char* lines : {"/report\n/help\n/reprot\n\n/exit\nnever read\n",
                            "/report\r\n/help\r\n/reprot\r\n\r\n/exit\r\nnever read\r\n"}) {
    const ProgramEnd end = run_program(chat({"-n", "1"}), typed(lines));
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_EQ(end.out, "");
    EXPECT_EQ(count(end.err, "nothing was read yet"), 2U) << end.err;  // asked for, and at the end
    EXPECT_EQ(count(end.err, "restkv: unknown command '/reprot'\n"), 1U) << end.err;
    EXPECT_EQ(count(end.err, "/report shows what the cache holds"), 2U) << end.err;
  }
}

TEST(Chat, APathIsAMessage) {
  const ProgramEnd end = run_program(chat({"-n", "1"}), typed("/etc/hosts\n"));
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_EQ(count(end.err, "; -n ended the answer]\n"), 1U) << end.err;
}

TEST(Chat, ARepeatPenaltyLooksBackOnTheMessage) {
  const auto answers = [](const char* last, const std::string& input) {
    const ProgramEnd end = run_program(
        chat({"-n", "1", "--temp", "0", "--repeat-penalty", "1000", "--repeat-last-n", last}),
        typed(input));
    EXPECT_EQ(end.status, 0) << end.err;
    return end.out;
  };
  const std::string first = answers("0", "one\n");
  const std::string message = first.substr(0, first.find('\n')) + first.substr(0, first.find('\n'));
  EXPECT_NE(answers("0", message + "\n"), answers("100000", message + "\n"));
}

// Two answers that would not end are stopped, and the third turn still works.
TEST(Chat, AnInterruptEndsTheAnswerOnly) {
  for (const char* policy : {"h2o", "rest-kv"}) {
    SCOPED_TRACE(policy);
    Program program(
        chat({"--kv-policy", policy, "-c", "1000000000", "-f", scratch_folder() + "/text.txt"}),
        typed("one\ntwo\n/report\n"));
    ASSERT_TRUE(program.wait_for_output());
    program.interrupt();
    ASSERT_TRUE(program.wait_for_message("stopped]"));
    ASSERT_TRUE(program.wait_for_more_output());
    program.interrupt();
    const ProgramEnd end = program.end();
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_EQ(count(end.err, "48 kept in each head"), 2U) << end.err;
    EXPECT_EQ(count(end.err, "ended by cancelled"), 2U) << end.err;  // /report, and at the end
  }
}

// An interrupt while a message is read leaves the conversation as it was.
TEST(Chat, AnInterruptWhileReadingTakesTheMessageBack) {
  Program program(
      chat({"-n", "3", "-b", "1", "-c", "100000", "-f", scratch_folder() + "/long.txt"}),
      typed("/report\none\ntwo\n"));
  ASSERT_TRUE(program.wait_for_message("nothing was read yet"));  // "one" is next
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_EQ(count(end.err, "restkv: interrupted while reading the prompt\n"), 1U) << end.err;
  EXPECT_EQ(count(end.err, "48 kept in each head"), 1U) << end.err;  // the text goes with "two"
}

// Who ends a program does not mean an answer: the messages that follow are not read.
TEST(Chat, ATerminationEndsTheConversation) {
  Program program(chat({"-c", "1000000000", "-f", scratch_folder() + "/text.txt"}),
                  typed("one\ntwo\n"));
  ASSERT_TRUE(program.wait_for_output());
  program.terminate();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130) << end.err;
  EXPECT_EQ(count(end.err, "stopped]"), 1U) << end.err;
  EXPECT_EQ(count(end.err, "ended by cancelled"), 1U) << end.err;  // the report at the end
}

TEST(Chat, ATerminationWhileReadingEndsTheConversation) {
  Program program(
      chat({"-n", "3", "-b", "1", "-c", "100000", "-f", scratch_folder() + "/long.txt"}),
      typed("/report\none\ntwo\n"));
  ASSERT_TRUE(program.wait_for_message("nothing was read yet"));  // "one" is next
  program.terminate();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130) << end.err;
  EXPECT_EQ(count(end.err, "restkv: interrupted while reading the prompt\n"), 1U) << end.err;
  EXPECT_EQ(end.out, "");
}

// Each -p is a message of its own, before those of the input.
TEST(Chat, SeveralQuestionsOfTheCommandLineAreAskedInTurn) {
  const ProgramEnd both =
      run_program(chat({"-n", "3", "-p", "one", "-p", "two"}), typed("three\n"));
  EXPECT_EQ(both.status, 0) << both.err;
  EXPECT_EQ(count(both.err, "; -n ended the answer]\n"), 3U) << both.err;
  const ProgramEnd lines = run_program(chat({"-n", "3"}), typed("one\ntwo\nthree\n"));
  EXPECT_EQ(both.out, lines.out);
}

// Nobody is there to see it.
TEST(Chat, AMessageThatFailedShowsInTheStatus) {
  const ProgramEnd end =
      run_program(chat({"-n", "1", "-f", scratch_folder() + "/long.txt"}), typed("one\n"));
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("context"), std::string::npos) << end.err;
}

TEST(Chat, OutputThatCannotBeWrittenEndsIt) {
  Surroundings around = typed("one\ntwo\n");
  around.output = "/dev/full";
  const ProgramEnd end = run_program(chat({}), around);
  EXPECT_EQ(end.status, 1);
  EXPECT_EQ(count(end.err, "restkv: standard output cannot be written\n"), 1U) << end.err;
}

}  // namespace
}  // namespace restkv::testing
