// `restkv eval` under mpirun: the ranks share the prompts, and the database is that of one process.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <thread>

#include "cli/eval_runs.h"

namespace restkv::testing {
namespace {

// mpirun with this many ranks, as a user would have to call it here; empty without MPI.
Surroundings under_mpirun(int ranks) {
  Surroundings around;
  if (std::string_view(RESTKV_MPIRUN).empty()) return around;
  around.launcher = {RESTKV_MPIRUN,     "-n",        std::to_string(ranks),
                     "--oversubscribe", "--bind-to", "none"};
  if (::geteuid() == 0) around.launcher.emplace_back("--allow-run-as-root");
  // The sanitizers see what MPI itself never gives back.
  around.environment = {"ASAN_OPTIONS=detect_leaks=0"};
  return around;
}

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

// The process of a rank that works on this database, or 0. By what mpirun tells its processes.
pid_t process_of_rank(int rank, const std::string& database) {
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
    if (holds(entry.path() / "cmdline", database) && holds(entry.path() / "environ", mark)) {
      return std::stoi(name);
    }
  }
  return 0;
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
