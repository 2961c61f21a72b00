// `restkv study` under mpirun: what the ranks write is what one process writes.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "cli/eval_runs.h"
#include "cli/mpirun.h"
#include "cli/study_runs.h"

namespace restkv::testing {
namespace {

class StudyRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (under_mpirun(2).launcher.empty()) GTEST_SKIP() << "built without MPI";
    std::filesystem::remove_all(folder_);
    const ProgramEnd end = run_program(study_args(folder_, "none"));
    ASSERT_EQ(end.status, 0) << end.err;
    // The page names its folder: the others are written to the same one.
    std::filesystem::remove_all(alone_);
    std::filesystem::rename(folder_, alone_);
  }

  void expect_what_one_process_wrote() const {
    for (const char* name : {"study.md", "study-figures.md"}) {
      EXPECT_EQ(text_of(folder_ + "/" + name), text_of(alone_ + "/" + name)) << name;
    }
    for (const char* name : {"study.db", "study.db.tail", "study.db.plain", "study.db.equal"}) {
      EXPECT_EQ(rows_apart_from_memory(folder_ + "/" + name),
                rows_apart_from_memory(alone_ + "/" + name))
          << name;
    }
  }

  std::string folder_ = scratch_folder() + "/study_ranks";
  std::string alone_ = scratch_folder() + "/study_alone";
};

TEST_F(StudyRanks, TwoWriteWhatOneWrites) {
  const ProgramEnd end = run_program(study_args(folder_, "none"), under_mpirun(2));
  ASSERT_EQ(end.status, 0) << end.err;
  expect_what_one_process_wrote();
}

TEST_F(StudyRanks, GoOnAfterARankWasKilled) {
  int killed = 0;
  for (const int moment : {50, 300}) {
    std::filesystem::remove_all(folder_);
    Program program(study_args(folder_, "none"), under_mpirun(2));
    // Once the store is there the rows come one by one.
    for (int i = 0; i < 500 && !std::filesystem::exists(folder_ + "/study.db"); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(moment));
    const pid_t process = process_of_rank(1, folder_);
    const bool was_there = process > 0 && ::kill(process, SIGKILL) == 0;
    const ProgramEnd end = program.end();
    if (was_there) {
      ++killed;
      EXPECT_NE(end.status, 0);
    }
    const ProgramEnd again = run_program(study_args(folder_, "none"), under_mpirun(2));
    ASSERT_EQ(again.status, 0) << again.err;
    expect_what_one_process_wrote();
  }
  EXPECT_GT(killed, 0);
}

}  // namespace
}  // namespace restkv::testing
