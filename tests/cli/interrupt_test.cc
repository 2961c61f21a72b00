// Ctrl-C while the program works.

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace restkv::testing {
namespace {

std::vector<std::string> endless(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"run",          "-m",           scratch_folder() + "/tiny.gguf",
                                   "--raw",        "-t",           "1",
                                   "-c",           "1000000000",   "-n",
                                   "-1",           "--ignore-eos", "--kv-policy",
                                   "streaming-llm"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(Interrupt, ReadingThePromptEndsAtOnce) {
  Program program(endless({"-f", scratch_folder() + "/text.txt", "-b", "1"}));
  ASSERT_TRUE(program.wait_for_handler());
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130);
  EXPECT_NE(end.err.find("restkv: interrupted while reading the prompt\n"), std::string::npos)
      << end.err;
  EXPECT_EQ(end.out, "");
}

TEST(Interrupt, AnAnswerEndsWithItsReport) {
  Program program(endless({"-p", "abc"}));
  ASSERT_TRUE(program.wait_for_output());
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130);
  EXPECT_NE(end.err.find("ended by cancelled\n"), std::string::npos) << end.err;
  EXPECT_NE(end.err.find("KV memory"), std::string::npos) << end.err;
  EXPECT_TRUE(end.out.ends_with('\n'));
}

TEST(Interrupt, AnAnswerInJsonIsWhole) {
  Program program(endless({"-p", "abc", "--json", "-n", "2000000000"}));
  ASSERT_TRUE(program.wait_for_handler());
  ::usleep(300000);  // most likely in the answer by now; before that, the other message is due
  program.interrupt();
  const ProgramEnd end = program.end();
  EXPECT_EQ(end.status, 130);
  const bool reading = end.err.find("interrupted while reading the prompt") != std::string::npos;
  const bool answering = end.out.starts_with("{") && end.out.ends_with("}\n") &&
                         end.out.find("\"stop\": \"cancelled\"") != std::string::npos;
  EXPECT_TRUE(reading || answering) << end.err << end.out;
}

// The second question is never read; the answer to the first was there.
TEST(Interrupt, TheAnswersBeforeItArePrinted) {
  ProgramEnd end;
  // The text takes longer to read where the machine is slow: nothing is answered then.
  for (const unsigned wait_ms : {300U, 2000U, 10000U}) {
    Program program(endless({"--kv-mode", "agnostic", "-f", scratch_folder() + "/text.txt", "-p",
                             "one", "-p", "two", "--json"}));
    ASSERT_TRUE(program.wait_for_handler());
    ::usleep(wait_ms * 1000);
    program.interrupt();
    end = program.end();
    if (!end.out.empty()) break;
  }
  EXPECT_EQ(end.status, 130);
  EXPECT_TRUE(end.err.ends_with("restkv: interrupted while reading the prompt\n")) << end.err;
  const auto answers = nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(answers.is_array()) << end.out;
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0]["question"], "one");
  EXPECT_EQ(answers[0]["stop"], "cancelled");
}

}  // namespace
}  // namespace restkv::testing
