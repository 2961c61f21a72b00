#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/process_folder.h"
#include "text/vocabularies.h"

namespace restkv::testing {
namespace {

class VocabularyTest : public EachVocabulary {};
INSTANTIATE_TEST_SUITE_P(, VocabularyTest, ::testing::ValuesIn(vocabulary_names()), case_name);

TEST_P(VocabularyTest, TextComesBack) {
  std::vector<std::string> texts = plain_texts();
  if (GetParam() == "baichuan" || GetParam() == "aquila") {
    texts.resize(5);  // these fold characters together (NFKC, missing byte tokens)
  }
  for (const std::string& text : texts) {
    const auto tokens = vocabulary->tokenize(text);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message;
    EXPECT_EQ(vocabulary->detokenize(*tokens), text);
  }
}

TEST_P(VocabularyTest, TextThatContinuesHasNoSpaceInFront) {
  for (const std::string& text : plain_texts()) {
    const auto tokens = vocabulary->tokenize(text, {.start = TextStart::kContinues});
    ASSERT_TRUE(tokens.ok());
    std::string pieces;
    for (const Token token : *tokens) pieces += vocabulary->piece(token);
    const auto fresh = vocabulary->tokenize(text);
    std::string fresh_pieces;
    for (const Token token : *fresh) fresh_pieces += vocabulary->piece(token);
    EXPECT_EQ((vocabulary->adds_space_prefix() ? " " : "") + pieces, fresh_pieces);
  }
}

TEST_P(VocabularyTest, SpecialTextIsParsedOnlyOnRequest) {
  for (const SpecialToken& special : vocabulary->special_tokens()) {
    if (special.kind != SpecialToken::Kind::kControl || special.text.size() < 3) continue;
    // A text that a longer special token holds too is not this token's own.
    const auto parsed = vocabulary->tokenize(special.text, {.special = SpecialText::kParse});
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->front(), special.id) << special.text;
    EXPECT_EQ(vocabulary->piece(special.id), "") << special.text;
    EXPECT_EQ(vocabulary->piece(special.id, ControlTokens::kShow), special.text);
    EXPECT_EQ(vocabulary->special(special.id), &special);
    const auto plain = vocabulary->tokenize(special.text);
    EXPECT_GT(plain->size(), 1U) << special.text;
    if (&special - vocabulary->special_tokens().data() > 50) break;
  }
}

TEST_P(VocabularyTest, BosIsAddedOnceAndOnlyOnRequest) {
  const auto plain = *vocabulary->tokenize("Hello");
  EXPECT_EQ(*vocabulary->tokenize("Hello", {.bos = Bos::kNever}), plain);
  auto with_bos = plain;
  if (vocabulary->bos()) with_bos.insert(with_bos.begin(), *vocabulary->bos());
  EXPECT_EQ(*vocabulary->tokenize("Hello", {.bos = Bos::kAlways}), with_bos);
  EXPECT_EQ(*vocabulary->tokenize("Hello", {.bos = Bos::kByModel}),
            vocabulary->adds_bos() ? with_bos : plain);
}

TEST_P(VocabularyTest, TokensOutsideAreHarmless) {
  for (const Token token : {-1, static_cast<Token>(vocabulary->size())}) {
    EXPECT_EQ(vocabulary->piece(token, ControlTokens::kShow), "");
    EXPECT_FALSE(vocabulary->is_end_of_generation(token));
    EXPECT_EQ(vocabulary->special(token), nullptr);
  }
  if (vocabulary->eos()) {
    EXPECT_TRUE(vocabulary->is_end_of_generation(*vocabulary->eos()));
  }
  EXPECT_EQ(vocabulary->tokenize("")->size(), 0U);
  EXPECT_TRUE(vocabulary->tokenize(std::string_view("a\0b\xFF\xC3", 5)).ok());
}

TEST_P(VocabularyTest, ThreadsShareOneObject) {
  const auto expected = *vocabulary->tokenize(plain_texts()[4]);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) count += *vocabulary->tokenize(plain_texts()[4]) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

// Token numbers as published with the models (tokenizer.json of Llama 3, tokenizer.model of Llama
// 2).
TEST(Vocabulary, KnownNumbers) {
  const auto llama3 = vocabulary_at(vocabulary_path("llama-bpe"));
  const auto llama2 = vocabulary_at(vocabulary_path("llama-spm"));
  if (llama3 == nullptr || llama2 == nullptr) GTEST_SKIP() << "no llama.cpp vocabularies";
  EXPECT_EQ(llama3->size(), 128256U);
  EXPECT_EQ(llama3->bos(), 128000);
  EXPECT_EQ(*llama3->tokenize("Hello world"), (std::vector<Token>{9906, 1917}));
  EXPECT_EQ(llama2->size(), 32000U);
  EXPECT_EQ(llama2->bos(), 1);
  EXPECT_EQ(llama2->eos(), 2);
  EXPECT_TRUE(llama2->adds_bos());
  EXPECT_EQ(*llama2->tokenize("Hello world", {.bos = Bos::kByModel}),
            (std::vector<Token>{1, 15043, 3186}));
  EXPECT_EQ(*llama2->tokenize("world", {.start = TextStart::kContinues}),
            (std::vector<Token>{11526}));
}

TEST(Vocabulary, RealModel) {
  const auto model = vocabulary_at(real_model_path());
  if (model == nullptr) GTEST_SKIP() << "no model " << real_model_path();
  EXPECT_NE(model->chat_template().find("<|im_start|>"), std::string::npos);
  EXPECT_FALSE(model->adds_bos());
  EXPECT_EQ(model->eos(), 151645);
  EXPECT_EQ(model->piece(151645, ControlTokens::kShow), "<|im_end|>");
  EXPECT_TRUE(model->is_end_of_generation(151645));
  EXPECT_TRUE(std::is_sorted(model->end_of_generation().begin(), model->end_of_generation().end()));
}

TEST(Vocabulary, FilesThatCannotBeReadAreNamed) {
  const auto missing = Vocabulary::load("/nowhere/model.gguf");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message, "/nowhere/model.gguf: no such file");

  const auto folder = Vocabulary::load(process_folder().string());
  ASSERT_FALSE(folder.ok());
  EXPECT_EQ(folder.error().code, ErrorCode::kIo);

  const std::string path = process_file("not_a_model.gguf");
  std::ofstream(path) << "this is not a GGUF file at all";
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const auto wrong = Vocabulary::load(path);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  std::filesystem::remove(path);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(wrong.error().message.starts_with(path)) << wrong.error().message;
  EXPECT_NE(wrong.error().message.find("magic"), std::string::npos) << wrong.error().message;
  EXPECT_EQ(wrong.error().message.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace restkv::testing
