// `restkv eval` under mpirun: the ranks share the prompts, and the database is that of one process.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "cli/eval_runs.h"
#include "cli/mpirun.h"

namespace restkv::testing {
namespace {

class EvalRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (under_mpirun(2).launcher.empty()) GTEST_SKIP() << "built without MPI";
  }
};

TEST_F(EvalRanks, TwoRanksGiveTheRowsOfOne) {
  // Batches of variants that are read alike, prompts that are marked, and a variant read apart.
  const std::vector<std::string> what = {
      "--policies", "full,snapkv,h2o", "--budgets", "100",     "--samples",
      "5",          "--schedules",     "once,cap",  "--marks", "2"};
  const std::string alone = fresh("alone.db");
  const ProgramEnd one = run_program(eval_args(alone, what));
  ASSERT_EQ(one.status, 0) << one.err;
  for (const int ranks : {1, 2, 3}) {
    const std::string shared = fresh("ranks.db");
    const ProgramEnd end = run_program(eval_args(shared, what), under_mpirun(ranks));
    ASSERT_EQ(end.status, 0) << end.err;
    EXPECT_NE(end.out.find("25 rows added"), std::string::npos) << end.out;
    EXPECT_EQ(end.out.find("rows added"), end.out.rfind("rows added")) << end.out;
    EXPECT_EQ(rows_apart_from_memory(shared), rows_apart_from_memory(alone));
  }
}

// Without shared beginnings nothing differs but the times.
TEST_F(EvalRanks, TakeTheMemoryOfOne) {
  const std::vector<std::string> what = with(kThree, {"--samples", "4", "--no-prefix-reuse"});
  const std::string alone = fresh("alone_memory.db");
  ASSERT_EQ(run_program(eval_args(alone, what)).status, 0);
  const std::string shared = fresh("ranks_memory.db");
  const ProgramEnd end = run_program(eval_args(shared, what), under_mpirun(2));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_EQ(comparable(report_of(shared)), comparable(report_of(alone)));
}

TEST_F(EvalRanks, GoOnWithWhatOneProcessLeft) {
  const std::string database = fresh("begun.db");
  const std::string whole = fresh("whole_ranks.db");
  const auto samples = [](const char* n) { return with(kThree, {"--samples", n}); };
  ASSERT_EQ(run_program(eval_args(whole, samples("5"))).status, 0);
  ASSERT_EQ(run_program(eval_args(database, samples("2"))).status, 0);
  const ProgramEnd end = run_program(eval_args(database, samples("5")), under_mpirun(2));
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("9 rows added"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("6 were there"), std::string::npos) << end.out;
  EXPECT_EQ(rows_apart_from_memory(database), rows_apart_from_memory(whole));
}

TEST_F(EvalRanks, ARankThatDiesLosesNoFinishedRow) {
  const std::vector<std::string> what = with(kThree, {"--samples", "12"});
  const std::string alone = fresh("undisturbed_ranks.db");
  ASSERT_EQ(run_program(eval_args(alone, what)).status, 0);
  int killed = 0;
  for (const int rank : {0, 1, 0, 1}) {
    const std::string database = fresh("dying_ranks.db");
    Program program(eval_args(database, what), under_mpirun(2));
    // Once the store is there the rows come one by one.
    for (int i = 0; i < 500 && !std::filesystem::exists(database); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(killed * 60));
    const pid_t process = process_of_rank(rank, database);
    if (process > 0 && ::kill(process, SIGKILL) == 0) ++killed;
    if (process > 0) {
      EXPECT_NE(program.end().status, 0);
    } else {
      (void)program.end();  // was quicker
    }
    ASSERT_EQ(run_program(eval_args(database, what)).status, 0);
    EXPECT_EQ(rows_apart_from_memory(database), rows_apart_from_memory(alone));
  }
  EXPECT_GT(killed, 0);
}

// One rank that cannot go on ends the others, which would wait for it.
TEST_F(EvalRanks, AnErrorEndsAll) {
  const ProgramEnd database =
      run_program(eval_args(scratch_folder() + "/text.txt", {"--samples", "2"}), under_mpirun(2));
  EXPECT_NE(database.status, 0);
  EXPECT_NE(database.err.find("text.txt: is no database of results"), std::string::npos)
      << database.err;
  const ProgramEnd data =
      run_program({"eval", "gsm8k/few-shot", "-m", scratch_folder() + "/tiny.gguf", "--raw", "--db",
                   fresh("no_data.db")},
                  under_mpirun(2));
  EXPECT_NE(data.status, 0);
  EXPECT_NE(data.err.find("gsm8k/test.jsonl"), std::string::npos) << data.err;
}

}  // namespace
}  // namespace restkv::testing
