#include "tensor/vocabulary_check.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "support/child.h"
#include "support/gguf_writer.h"
#include "tensor/vocabulary_cases.h"
#include "text/vocabulary.h"

namespace restkv {
namespace {

using testing::end_of_child;

std::string temporary_path() {
  return ::testing::TempDir() + "restkv_vocabulary_" + std::to_string(::getpid()) + ".gguf";
}

Result<void> check_bytes(const std::vector<std::byte>& bytes) {
  const auto file = GgufFile::from_memory(bytes, "file");
  if (!file.ok()) return file.error();
  return check_vocabulary_keys(**file);
}

// Loads it, and uses it as the program does, whatever the check said.
int load_unchecked(const std::string& path) {
  const auto vocabulary = Vocabulary::load(path);
  if (!vocabulary.ok()) return 1;
  const auto tokens = (*vocabulary)->tokenize("a  b\nc", {.special = SpecialText::kParse});
  if (tokens.ok()) (void)(*vocabulary)->detokenize(*tokens, ControlTokens::kShow);
  return 0;
}

class VocabularyCheckTest : public ::testing::TestWithParam<VocabularyCase> {};
INSTANTIATE_TEST_SUITE_P(, VocabularyCheckTest, ::testing::ValuesIn(vocabulary_cases()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST_P(VocabularyCheckTest, RefusesOrLoads) {
  GgufWriter writer = GetParam().is_spm ? spm_file() : bpe_file();
  GetParam().change(writer);
  const auto bytes = writer.bytes();
  const Result<void> checked = check_bytes(bytes);
  EXPECT_EQ(checked.ok() ? "" : checked.error().message, GetParam().error);
  if (*GetParam().end == '\0') return;

  const std::string path = temporary_path();
  ASSERT_TRUE(writer.write(path).ok());
  EXPECT_EQ(end_of_child([&] { return load_unchecked(path); }), GetParam().end);
  std::filesystem::remove(path);
}

// The writer cannot put a NUL into a string; libllama reads what stands before it.
TEST(VocabularyCheck, TokensEndAtANul) {
  GgufWriter writer = bpe_file();
  auto tokens = some_tokens(40);
  tokens[30] = "t7#more";
  writer.set_strs("tokenizer.ggml.tokens", tokens);
  auto bytes = writer.bytes();
  for (std::byte& byte : bytes) {
    if (byte == std::byte{'#'}) byte = std::byte{0};
  }
  EXPECT_EQ(check_bytes(bytes).error().message,
            "file: key 'tokenizer.ggml.tokens' has the text 't7' twice, as tokens 7 and 30");
}

// Random changes of single bytes: refused by one of the two checks, or harmless to libllama. One
// child tries many files; `tried` says where it ended if it did.
TEST(VocabularyCheck, RandomChangesAreRefusedOrHarmless) {
  const std::string path = temporary_path();
  for (const bool is_spm : {false, true}) {
    const auto good = (is_spm ? spm_file() : bpe_file()).bytes();
    std::size_t accepted = 0;
    std::uint64_t state = is_spm ? 2 : 1;
    std::vector<std::vector<std::byte>> files;
    for (int i = 0; i < 400; ++i) {
      auto bytes = good;
      for (std::uint64_t n = 1 + next_random(state) % 3; n > 0; --n) {
        bytes[next_random(state) % bytes.size()] = static_cast<std::byte>(next_random(state));
      }
      if (check_bytes(bytes).ok()) files.push_back(std::move(bytes));
    }
    accepted = files.size();
    EXPECT_GT(accepted, 20U);
    const auto load_all = [&](std::size_t first, std::size_t count) {
      return end_of_child([&] {
        for (std::size_t i = first; i < first + count; ++i) {
          std::ofstream(path, std::ios::binary)
              .write(reinterpret_cast<const char*>(files[i].data()),
                     static_cast<std::streamsize>(files[i].size()));
          (void)load_unchecked(path);
        }
        return 0;
      });
    };
    if (load_all(0, accepted) != "exit 0") {
      for (std::size_t i = 0; i < accepted; ++i) {
        EXPECT_EQ(load_all(i, 1), "exit 0") << "file " << i << " of " << accepted;
      }
    }
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace restkv
