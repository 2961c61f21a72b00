#pragma once

// What the tests of `restkv study` share: a small study of the tiny model.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "cli/program.h"

namespace restkv::testing {

inline std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A folder of data with a GSM8K of our own making; of MultiArith there is nothing.
inline std::string small_data() {
  const std::string folder = scratch_folder() + "/study_data";
  std::filesystem::create_directories(folder + "/gsm8k");
  for (const char* name : {"train", "test"}) {
    std::ofstream file(folder + "/gsm8k/" + name + ".jsonl");
    for (int i = 1; i <= 12; ++i) {
      const std::string n = std::to_string(i);
      const std::string sum = std::to_string(i + 2);
      file << R"({"question": "Ann has )" << n << R"( pears and buys 2. How many has she?", )"
           << R"("answer": ")" << n << " + 2 = " << sum << R"(\n#### )" << sum << "\"}\n";
    }
  }
  return folder;
}

inline std::vector<std::string> study_args(const std::string& folder, const std::string& strong) {
  return {"study",
          "-m",
          scratch_folder() + "/tiny.gguf",
          "--scale",
          "trial",
          "-t",
          "1",
          "--chat-template",
          "chatml",
          "--material",
          "own",
          "--data",
          small_data(),
          "--strong-model",
          strong,
          "-o",
          folder};
}

}  // namespace restkv::testing
