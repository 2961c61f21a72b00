#include "tensor/vocabulary_cases.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <ostream>

namespace restkv {
namespace {

const std::string kKey = "file: key 'tokenizer.ggml.";

}  // namespace

GgufWriter bpe_file() {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  tiny_vocabulary(writer, 40);
  return writer;
}

// SentencePiece, with a byte token for each byte.
GgufWriter spm_file() {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "<0x%02X>", static_cast<unsigned>(byte));
    tokens.emplace_back(text.data());
    types.push_back(6);
  }
  for (const char* text : {"\xe2\x96\x81", "a", "b",
                           "\xe2\x96\x81"
                           "a",
                           "ab"}) {
    tokens.emplace_back(text);
    types.push_back(1);
  }
  writer.set_str("tokenizer.ggml.model", "llama");
  writer.set_strs("tokenizer.ggml.tokens", tokens);
  writer.set_i32s("tokenizer.ggml.token_type", types);
  writer.set_f32s("tokenizer.ggml.scores", std::vector<float>(tokens.size(), -1.0F));
  return writer;
}

std::vector<std::string> some_tokens(std::size_t n) {
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < n; ++i) tokens.push_back("t" + std::to_string(i));
  return tokens;
}

std::ostream& operator<<(std::ostream& out, const VocabularyCase& one) { return out << one.name; }

const std::vector<VocabularyCase>& vocabulary_cases() {
  static const std::vector<VocabularyCase> table = {
      {.name = "Untouched", .change = [](GgufWriter&) {}, .error = "", .end = "exit 0"},
      {.name = "UntouchedSpm",
       .change = [](GgufWriter&) {},
       .error = "",
       .is_spm = true,
       .end = "exit 0"},
      {.name = "NoVocabulary",
       .change =
           [](GgufWriter& w) {
             for (const char* key : {"model", "pre", "tokens", "token_type", "merges"}) {
               w.remove(std::string("tokenizer.ggml.") + key);
             }
           },
       .error = "",
       .end = "exit 1"},
      {.name = "DummyTokens",
       .change =
           [](GgufWriter& w) {
             w.set_str("tokenizer.ggml.model", "none");
             w.set_u32("llama.vocab_size", 100);
           },
       .error = "",
       .end = "exit 1"},
      {.name = "BillionsOfDummyTokens",
       .change =
           [](GgufWriter& w) {
             w.set_str("tokenizer.ggml.model", "no_vocab");
             w.set_u32("llama.vocab_size", 4000000000U);
           },
       .error = "file: key 'llama.vocab_size' states 4000000000 tokens"},
      {.name = "ModelIsNoString",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.model", 1); },
       .error = kKey + "model' is a u32, not a string"},
      {.name = "ModelOfAnotherKind",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.model", "rwkv"); },
       .error = kKey + "model' is 'rwkv', which is not supported (known: gpt2, llama, gemma4)"},
      {.name = "ModelWithALineEnd",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.model", "a\nb"); },
       .error = kKey + "model' is 'a?b', which is not supported (known: gpt2, llama, gemma4)"},
      {.name = "PreIsNoString",
       .change = [](GgufWriter& w) { w.set_bool("tokenizer.ggml.pre", true); },
       .error = kKey + "pre' must be of type string, not bool"},
      {.name = "PreIsUnknown",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.pre", "nonsense"); },
       .error = "",
       .end = "exit 1"},
      {.name = "PreLeavesBlanks",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.pre", "whitespace"); },
       .error = kKey + "pre' is 'whitespace', which is not supported with the tokenizer 'gpt2'",
       .end = "signal 6"},
      {.name = "TokensMissing",
       .change = [](GgufWriter& w) { w.remove("tokenizer.ggml.tokens"); },
       .error = kKey + "tokens' is missing"},
      {.name = "TokensAreOneString",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.tokens", "abc"); },
       .error = kKey + "tokens' must be of type array of string, not string"},
      {.name = "TokensAreNumbers",
       .change = [](GgufWriter& w) { w.set_i32s("tokenizer.ggml.tokens", std::array{1, 2, 3}); },
       .error = kKey + "tokens' must be of type array of string, not array of i32"},
      {.name = "NoTokens",
       .change = [](GgufWriter& w) { w.set_strs("tokenizer.ggml.tokens", {}); },
       .error = kKey + "tokens' is empty"},
      {.name = "TheSameTokenTwice",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = "t7";
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = kKey + "tokens' has the text 't7' twice, as tokens 7 and 20",
       .end = "signal 6"},
      {.name = "EmptyTokens",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = tokens[21] = "";
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = "",
       .end = "exit 0"},
      {.name = "TheNameOfAnEmptyToken",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = "";
             tokens[30] = "[EMPTY_20]";
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = kKey + "tokens' has the text '[EMPTY_20]' twice, as tokens 20 and 30",
       .end = "signal 6"},
      {.name = "TokensThatAreNoText",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = "\xff\xfe\x80";
             tokens[22] = "\xc3";
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = "",
       .end = "exit 0"},
      {.name = "ATokenBeyondUnicode",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = "\xf4\x90\x80\x80";
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = "",
       .end = "exit 1"},
      {.name = "AHugeToken",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = std::string(100000, '\xff');
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = kKey + "tokens' has texts that are too long, such as token 20 of 100000 bytes"},
      {.name = "ALongToken",
       .change =
           [](GgufWriter& w) {
             auto tokens = some_tokens(40);
             tokens[20] = std::string(2000, '\xff');
             w.set_strs("tokenizer.ggml.tokens", tokens);
           },
       .error = "",
       .end = "exit 0"},
      {.name = "ScoresOfTheWrongType",
       .change =
           [](GgufWriter& w) {
             w.set_bools("tokenizer.ggml.scores", std::array<std::int8_t, 1>{1});
           },
       .error = kKey + "scores' must be of type array of f32, not array of bool",
       .is_spm = true},
      {.name = "ScoresAreOneNumber",
       .change = [](GgufWriter& w) { w.set_f32("tokenizer.ggml.scores", 1.0F); },
       .error = kKey + "scores' must be of type array of f32, not f32",
       .is_spm = true},
      {.name = "TooFewScores",
       .change = [](GgufWriter& w) { w.set_f32s("tokenizer.ggml.scores", std::array{1.0F}); },
       .error = kKey + "scores' has 1 elements for 264 tokens",
       .is_spm = true},
      {.name = "WholeScores",
       .change =
           [](GgufWriter& w) {
             w.set_i32s("tokenizer.ggml.scores", std::vector<std::int32_t>(264));
           },
       .error = "",
       .is_spm = true,
       .end = "exit 0"},
      {.name = "ScoreIsNoNumber",
       .change =
           [](GgufWriter& w) {
             std::vector<float> scores(264);
             scores[5] = std::numeric_limits<float>::quiet_NaN();
             w.set_f32s("tokenizer.ggml.scores", scores);
           },
       .error = kKey + "scores' is not a number for token 5",
       .is_spm = true},
      {.name = "NoScores",
       .change = [](GgufWriter& w) { w.remove("tokenizer.ggml.scores"); },
       .error = "",
       .is_spm = true,
       .end = "exit 0"},
      {.name = "TypesOfTheWrongType",
       .change =
           [](GgufWriter& w) {
             w.set_u32s("tokenizer.ggml.token_type", std::vector<std::uint32_t>(40));
           },
       .error = kKey + "token_type' must be of type array of i32, not array of u32"},
      {.name = "TooFewTypes",
       .change = [](GgufWriter& w) { w.set_i32s("tokenizer.ggml.token_type", std::array{1, 1}); },
       .error = kKey + "token_type' has 2 elements for 40 tokens"},
      {.name = "NoTypes",
       .change = [](GgufWriter& w) { w.remove("tokenizer.ggml.token_type"); },
       .error = "",
       .end = "exit 0"},
      {.name = "UnknownTypes",
       .change =
           [](GgufWriter& w) {
             std::vector<std::int32_t> types(40, -7);
             types[1] = 1 << 30;
             w.set_i32s("tokenizer.ggml.token_type", types);
           },
       .error = "",
       .end = "exit 0"},
      {.name = "AByteThatIsNone",
       .change =
           [](GgufWriter& w) {
             std::vector<std::int32_t> types(40, 1);
             types[3] = 6;
             w.set_i32s("tokenizer.ggml.token_type", types);
           },
       .error = kKey + "token_type' says that token 3 is a byte, but it is 'a'"},
      {.name = "BytesAreMissing",
       .change =
           [](GgufWriter& w) {
             w.set_strs("tokenizer.ggml.tokens", some_tokens(40));
             w.set_i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>(40, 1));
           },
       .error = "",
       .is_spm = true,
       .end = "exit 1"},
      {.name = "MergesMissing",
       .change = [](GgufWriter& w) { w.remove("tokenizer.ggml.merges"); },
       .error = kKey + "merges' is missing"},
      {.name = "MergesOfTheWrongType",
       .change = [](GgufWriter& w) { w.set_str("tokenizer.ggml.merges", "a b"); },
       .error = kKey + "merges' must be of type array of string, not string"},
      {.name = "MergeWithoutBlank",
       .change =
           [](GgufWriter& w) {
             w.set_strs("tokenizer.ggml.merges", std::array<std::string, 3>{"a b", "ab", ""});
           },
       .error = kKey + "merges' element 1 is not a pair: 'ab'"},
      {.name = "EmptyMerge",
       .change =
           [](GgufWriter& w) {
             w.set_strs("tokenizer.ggml.merges", std::array<std::string, 1>{""});
           },
       .error = kKey + "merges' element 0 is not a pair: ''"},
      {.name = "NoMerges",
       .change = [](GgufWriter& w) { w.set_strs("tokenizer.ggml.merges", {}); },
       .error = "",
       .end = "exit 0"},
      {.name = "KimiGoesWithoutMerges",
       .change =
           [](GgufWriter& w) {
             w.set_str("tokenizer.ggml.pre", "kimi-k2");
             w.remove("tokenizer.ggml.merges");
           },
       .error = "",
       .end = "exit 0"},
      {.name = "EndOutsideTheVocabulary",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.eos_token_id", 40); },
       .error = kKey + "eos_token_id' is 40, outside the vocabulary of 40 tokens"},
      {.name = "BeginningOutsideTheVocabulary",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.bos_token_id", 4294967295U); },
       .error = kKey + "bos_token_id' is 4294967295, outside the vocabulary of 40 tokens"},
      {.name = "EndOfTurnOutsideTheVocabulary",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.eot_token_id", 999); },
       .error = kKey + "eot_token_id' is 999, outside the vocabulary of 40 tokens"},
      {.name = "PaddingOutsideTheVocabulary",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.padding_token_id", 4294967295U); },
       .error = "",
       .end = "exit 0"},
      {.name = "FillInOutsideTheVocabulary",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.fim_pre_token_id", 4294967295U); },
       .error = "",
       .end = "exit 0"},
      {.name = "NegativeEnd",
       .change = [](GgufWriter& w) { w.set_i32("tokenizer.ggml.eos_token_id", -1); },
       .error = kKey + "eos_token_id' must be of type u32, not i32"},
      {.name = "NoBoundaries",
       .change =
           [](GgufWriter& w) {
             w.remove("tokenizer.ggml.bos_token_id");
             w.remove("tokenizer.ggml.eos_token_id");
             w.set_strs("tokenizer.ggml.tokens", some_tokens(8));
             w.set_bool("tokenizer.ggml.add_bos_token", true);
             w.set_bool("tokenizer.ggml.add_eos_token", true);
           },
       .error = "",
       .end = "exit 0"},
      {.name = "AddBosIsANumber",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.add_bos_token", 1); },
       .error = kKey + "add_bos_token' must be of type bool, not u32"},
      {.name = "SuppressedTokensOutsideTheVocabulary",
       .change =
           [](GgufWriter& w) {
             w.set_i32s("tokenizer.ggml.suppress_tokens", std::array{-5, 3, 1 << 30});
           },
       .error = "",
       .end = "exit 0"},
      {.name = "SuppressedTokensOfTheWrongType",
       .change = [](GgufWriter& w) { w.set_u32("tokenizer.ggml.suppress_tokens", 3); },
       .error = kKey + "suppress_tokens' must be of type array of i32, not u32"},
      {.name = "NameIsNoString",
       .change = [](GgufWriter& w) { w.set_u32("general.name", 7); },
       .error = "",
       .end = "exit 1"},
      {.name = "NameOfAModelWithRulesOfItsOwn",
       .change = [](GgufWriter& w) { w.set_str("general.name", "Phi-3"); },
       .error = "",
       .end = "exit 1"},
      {.name = "SplitCountOfTheWrongType",
       .change = [](GgufWriter& w) { w.set_u32("split.count", 1); },
       .error = "",
       .end = "exit 1"},
      {.name = "UnknownArchitecture",
       .change = [](GgufWriter& w) { w.set_str("general.architecture", "nonsense"); },
       .error = "",
       .end = "exit 1"},
      {.name = "TemplateIsNoString",
       .change = [](GgufWriter& w) { w.set_strs("tokenizer.chat_template", some_tokens(3)); },
       .error = "",
       .end = "exit 0"},
  };
  return table;
}

}  // namespace restkv
