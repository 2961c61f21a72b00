#pragma once

// What the tests of `restkv eval` share: small runs of the tiny model, and their rows.

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace restkv::testing {

// A file of the scratch folder that is not there yet.
inline std::string fresh(const std::string& name) {
  const std::string path = scratch_folder() + "/" + name;
  std::filesystem::remove(path);
  return path;
}

inline std::vector<std::string> with(std::vector<std::string> args,
                                     const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

inline std::vector<std::string> eval_args(const std::string& database,
                                          const std::vector<std::string>& more) {
  return with({"eval", "ruler/niah_single_1", "-m", scratch_folder() + "/tiny.gguf", "--raw", "-t",
               "1", "--lengths", "2048", "--material", "own", "--db", database},
              more);
}

inline const std::vector<std::string> kThree = {"--policies", "full,snapkv,rest-kv", "--budgets",
                                                "100"};

inline nlohmann::json report_of(const std::string& database) {
  const ProgramEnd end = run_program({"report", database, "--format", "json"});
  EXPECT_EQ(end.status, 0) << end.err;
  return nlohmann::json::parse(end.out, nullptr, /*allow_exceptions=*/false);
}

// The rows without their times, which differ from run to run. Everything else is compared.
inline nlohmann::json comparable(const nlohmann::json& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (nlohmann::json row : report["rows"]) {
    for (const char* field : {"prefill_ms", "compress_ms", "decode_ms"}) row.erase(field);
    rows.push_back(row);
  }
  return rows;
}

// And without the size of their batch: for variants that were run one by one and together.
inline nlohmann::json rows_apart_from_batch(const std::string& database) {
  nlohmann::json rows = comparable(report_of(database));
  for (nlohmann::json& row : rows) row.erase("batch");
  return rows;
}

// And without the memory: a prompt counts what it shares with those before it, and in a run that
// was stopped, or shared between ranks, others came before it. With --no-prefix-reuse, where
// nothing is shared, comparable() holds.
inline nlohmann::json rows_apart_from_memory(const std::string& database) {
  nlohmann::json rows = comparable(report_of(database));
  for (nlohmann::json& row : rows) row.erase("bytes_peak");
  return rows;
}

}  // namespace restkv::testing
