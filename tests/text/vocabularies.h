#pragma once

// The vocabularies that the tests of this room run on: those of the llama.cpp tree, and the real
// model.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/vocabulary.h"

namespace restkv::testing {

// Generative ones, one of every kind: byte-level BPE of several splitters, SentencePiece with and
// without the space in front, BPE over SentencePiece text.
inline const std::vector<std::string>& vocabulary_names() {
  static const std::vector<std::string> names = {
      "aquila",  "baichuan", "command-r", "deepseek-coder", "deepseek-llm", "falcon",
      "gemma-4", "gpt-2",    "gpt-neox",  "llama-bpe",      "llama-spm",    "mpt",
      "phi-3",   "qwen2",    "qwen35",    "refact",         "starcoder"};
  return names;
}

inline std::string vocabulary_path(const std::string& name) {
  return std::string(RESTKV_LLAMA_DIR) + "/models/ggml-vocab-" + name + ".gguf";
}

// $RESTKV_TEST_MODEL, else where `restkv pull` puts the default model.
inline std::string real_model_path() {
  if (const char* path = std::getenv("RESTKV_TEST_MODEL")) return path;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string root = cache != nullptr && *cache != '\0'
                               ? std::string(cache)
                               : std::string(home != nullptr ? home : "") + "/.cache";
  return root + "/restkv/models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
}

// Loaded once per process. Null when the file is missing.
inline std::shared_ptr<const Vocabulary> vocabulary_at(const std::string& path) {
  static std::vector<std::pair<std::string, std::shared_ptr<const Vocabulary>>> loaded;
  for (const auto& [known, vocabulary] : loaded) {
    if (known == path) return vocabulary;
  }
  if (!std::filesystem::exists(path)) return nullptr;
  auto result = Vocabulary::load(path);
  EXPECT_TRUE(result.ok()) << result.error().message;
  loaded.emplace_back(path, result.ok() ? *result : nullptr);
  return loaded.back().second;
}

// A copy of a vocabulary file with some bytes behind one of its keys changed in place, loaded.
// `change` gets the bytes behind the key's name: the value's type, then the value.
template <typename Change>
Result<std::shared_ptr<const Vocabulary>> patched_vocabulary(const std::string& path,
                                                             const std::string& key,
                                                             const Change& change) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const std::size_t at = bytes.find(key);
  EXPECT_NE(at, std::string::npos);
  change(bytes.data() + at + key.size());
  const std::string copy = ::testing::TempDir() + "restkv_text_" + std::to_string(::getpid());
  std::ofstream(copy, std::ios::binary) << bytes;
  auto vocabulary = Vocabulary::load(copy);
  std::filesystem::remove(copy);
  return vocabulary;
}

// A case of gtest's parameters for every vocabulary; `vocabulary` is set, or the case is skipped.
class EachVocabulary : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    vocabulary = vocabulary_at(vocabulary_path(GetParam()));
    if (vocabulary == nullptr) GTEST_SKIP() << "no file " << vocabulary_path(GetParam());
  }
  std::shared_ptr<const Vocabulary> vocabulary;
};

inline std::string case_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

// Texts that a tokeniser can get wrong; none spells out a special token.
inline const std::vector<std::string>& plain_texts() {
  static const std::vector<std::string> texts = {
      "Hello, world!",
      "a",
      "The quick brown fox: 3.14159 + 2,718 = 42?",
      "line one\nline two\n\n  indented\ttab",
      "def f(x):\n    return x ** 2  # comment\n",
      "Grüße aus Köln, façade, naïve",
      "日本語のテキスト、한국어, العربية",
      "emoji \xF0\x9F\x99\x82 and \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC",
      "a < b && c > d | e",
  };
  return texts;
}

}  // namespace restkv::testing
