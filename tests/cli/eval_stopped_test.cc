// `restkv eval` that is killed, finds its database locked, or its disk full: what was finished is
// kept, and the same command goes on to the rows of a run that nobody disturbed.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "cli/eval_runs.h"

namespace restkv::testing {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kVariants = 3;
constexpr std::size_t kSamples = 8;

std::vector<std::string> run_args(const std::string& database) {
  return eval_args(database, with(kThree, {"--samples", std::to_string(kSamples)}));
}

// Kills in a run; RESTKV_TEST_KILLS for more or fewer of them.
int wanted_kills() {
  const char* const text = std::getenv("RESTKV_TEST_KILLS");
  return text == nullptr ? 20 : std::atoi(text);
}

// The prompts with rows, each with all of them: what is written together is there together.
std::size_t whole_prompts(const std::string& database) {
  const ProgramEnd end = run_program({"report", database, "--format", "json"});
  if (end.status != 0) {
    // Killed before the first row, or before there was a table.
    EXPECT_TRUE(end.err.find("no results") != std::string::npos ||
                end.err.find("no such file") != std::string::npos ||
                end.err.find("is no database of results") != std::string::npos)
        << end.err;
    return 0;
  }
  std::map<std::string, std::size_t> rows;
  const json report = json::parse(end.out, nullptr, /*allow_exceptions=*/false);
  for (const json& row : report["rows"]) ++rows[row["sample"]];
  for (const auto& [sample, count] : rows) EXPECT_EQ(count, kVariants) << sample;
  return rows.size();
}

TEST(EvalStopped, ARunThatIsKilledGoesOnToTheSameRows) {
  const std::string whole = fresh("undisturbed.db");
  const Clock::time_point start = Clock::now();
  ASSERT_EQ(run_program(run_args(whole)).status, 0);
  const std::chrono::duration<double> took = Clock::now() - start;
  const json expected = rows_apart_from_memory(whole);
  ASSERT_EQ(expected.size(), kSamples * kVariants);

  std::mt19937 random(7);
  std::uniform_real_distribution<double> moment(0.05, 1.0);
  int kills = 0;
  std::size_t done = 0;
  for (int attempt = 0; kills < wanted_kills() && attempt < 10 * wanted_kills(); ++attempt) {
    // Runs that go on are shorter: now and then all begins anew.
    const std::string database = scratch_folder() + "/killed.db";
    if (done == kSamples || attempt == 0) {
      (void)fresh("killed.db");
      (void)fresh("killed.db-journal");
      done = 0;
    }
    Program program(run_args(database));
    std::this_thread::sleep_for(took * moment(random));
    program.kill();
    const int status = program.end().status;
    ASSERT_TRUE(status == 0 || status == 128 + 9) << status;
    if (status != 0) ++kills;
    const std::size_t before = done;
    done = whole_prompts(database);
    EXPECT_GE(done, before);
    if (done < kSamples && attempt % 3 != 2) continue;
    ASSERT_EQ(run_program(run_args(database)).status, 0);
    EXPECT_EQ(rows_apart_from_memory(database), expected);
    done = kSamples;
  }
  EXPECT_GE(kills, wanted_kills());
  ASSERT_EQ(run_program(run_args(scratch_folder() + "/killed.db")).status, 0);
  EXPECT_EQ(rows_apart_from_memory(scratch_folder() + "/killed.db"), expected);
}

// A limit on the size of files stands for a disk that is full.
TEST(EvalStopped, AFullDiskIsSaidAndLosesNothing) {
  const std::vector<std::string> marks = {"--marks", std::to_string(kSamples)};
  const std::string whole = fresh("roomy.db");
  ASSERT_EQ(run_program(with(run_args(whole), marks)).status, 0);
  const std::string database = fresh("narrow.db");
  Surroundings narrow;
  narrow.largest_file = std::filesystem::file_size(whole) / 2;
  const ProgramEnd end = run_program(with(run_args(database), marks), narrow);
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("narrow.db: cannot be read or written further: a limit"),
            std::string::npos)
      << end.err;
  const std::size_t done = whole_prompts(database);
  EXPECT_GT(done, 0U);
  EXPECT_LT(done, kSamples);
  ASSERT_EQ(run_program(with(run_args(database), marks)).status, 0);
  EXPECT_EQ(rows_apart_from_memory(database), rows_apart_from_memory(whole));
}

// The byte that SQLite locks before it writes (its file format, "The Locking Protocol").
constexpr off_t kReservedByte = 0x40000001;

TEST(EvalStopped, ALockedDatabaseIsSaidAndLosesNothing) {
  const std::string database = fresh("locked.db");
  ASSERT_EQ(run_program(eval_args(database, with(kThree, {"--samples", "2"}))).status, 0);
  const json before = rows_apart_from_memory(database);
  const int file = ::open(database.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kReservedByte;
  lock.l_len = 1;
  ASSERT_EQ(::fcntl(file, F_SETLK, &lock), 0);
  const ProgramEnd end = run_program(eval_args(database, with(kThree, {"--samples", "3"})));
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("locked.db: is locked by another program"), std::string::npos) << end.err;
  ::close(file);
  EXPECT_EQ(rows_apart_from_memory(database), before);
  const ProgramEnd again = run_program(eval_args(database, with(kThree, {"--samples", "3"})));
  EXPECT_NE(again.out.find("3 rows added"), std::string::npos) << again.out << again.err;
}

// Another program's connection to a database.
class Connection {
 public:
  explicit Connection(const std::string& path) {
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    sqlite3_busy_timeout(database_, 5000);
  }
  ~Connection() { sqlite3_close(database_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool execute(const char* sql) const {
    return sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  // 0 before there is a table.
  [[nodiscard]] std::size_t rows() const {
    std::size_t count = 0;
    const auto take = [](void* to, int /*columns*/, char** values, char** /*names*/) {
      *static_cast<std::size_t*>(to) = std::stoul(values[0]);
      return 0;
    };
    sqlite3_exec(database_, "SELECT count(*) FROM results", take, &count, nullptr);
    return count;
  }

 private:
  sqlite3* database_ = nullptr;
};

TEST(EvalStopped, ALockThatComesMidwayIsSaidAndLosesNothing) {
  const std::size_t samples = 2 * kSamples;
  const auto args = [&](const std::string& database) {
    return eval_args(database, with(kThree, {"--samples", std::to_string(samples)}));
  };
  const std::string whole = fresh("unlocked.db");
  ASSERT_EQ(run_program(args(whole)).status, 0);
  const std::string database = fresh("locked_midway.db");
  Program program(args(database));
  for (int i = 0; i < 1000 && !std::filesystem::exists(database); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const Connection other(database);
  for (int i = 0; i < 2000 && other.rows() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const bool locked = other.execute("BEGIN EXCLUSIVE");
  const std::size_t written = other.rows();
  const ProgramEnd end = program.end();
  ASSERT_TRUE(locked);
  ASSERT_GT(written, 0U);
  ASSERT_LT(written, samples * kVariants) << "was quicker than the lock";
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.err.find("locked_midway.db: is locked by another program"), std::string::npos)
      << end.err;
  EXPECT_EQ(other.rows(), written);
  ASSERT_TRUE(other.execute("ROLLBACK"));
  EXPECT_EQ(whole_prompts(database) * kVariants, written);
  ASSERT_EQ(run_program(args(database)).status, 0);
  EXPECT_EQ(rows_apart_from_memory(database), rows_apart_from_memory(whole));
}

}  // namespace
}  // namespace restkv::testing
