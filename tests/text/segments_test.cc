#include "text/segments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "text/vocabularies.h"

namespace restkv::testing {
namespace {

using Source = Segment::Source;

class SegmentsTest : public EachVocabulary {
 protected:
  TokenizedSegments tokenize(const std::vector<Segment>& segments,
                             const std::set<Token>& marks = {}) const {
    auto result = tokenize_segments(*vocabulary, segments, TextStart::kFresh, marks);
    EXPECT_TRUE(result.ok());
    return std::move(result).value();
  }
  std::string shown(const std::vector<Token>& tokens) const {
    return vocabulary->detokenize(tokens, ControlTokens::kShow);
  }
};
INSTANTIATE_TEST_SUITE_P(, SegmentsTest, ::testing::ValuesIn(vocabulary_names()), case_name);

TEST_P(SegmentsTest, BordersInOrdinaryTextDoNotShow) {
  for (const std::string& text : plain_texts()) {
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      const auto result = tokenize(
          {{Source::kTemplate, text.substr(0, cut)}, {Source::kContent, text.substr(cut)}});
      ASSERT_EQ(result.tokens, *vocabulary->tokenize(text)) << text << " at " << cut;
    }
  }
}

// User-defined tokens are matched in any text, unless the caller calls them marks: then only in the
// template.
TEST_P(SegmentsTest, MarksInAContentAreSpelledOut) {
  int tried = 0;
  for (const SpecialToken& special : vocabulary->special_tokens()) {
    const bool word = std::none_of(special.text.begin(), special.text.end(), [](char c) {
      return c == ' ' || c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x80;
    });
    if (special.kind != SpecialToken::Kind::kUserDefined || !word || special.text.size() < 2) {
      continue;
    }
    if (++tried > 20) break;
    const std::string text = "a" + special.text + special.text + "b";
    const std::vector<Segment> segments = {{Source::kContent, text}, {Source::kTemplate, text}};
    const auto count = [&](const TokenizedSegments& result, std::size_t segment) {
      const TokenSpan span = result.spans[segment];
      return std::count(result.tokens.begin() + static_cast<std::ptrdiff_t>(span.begin),
                        result.tokens.begin() + static_cast<std::ptrdiff_t>(span.end), special.id);
    };
    const auto marked = tokenize(segments, {special.id});
    EXPECT_EQ(count(marked, 0), 0) << special.text;
    EXPECT_EQ(count(marked, 1), 2) << special.text;
    EXPECT_EQ(shown(marked.tokens), text + text);
    EXPECT_EQ(count(tokenize(segments), 0), 2) << special.text;
  }
  if (tried == 0) GTEST_SKIP() << GetParam() << " has no user-defined words";
}

TEST_P(SegmentsTest, SpansCoverTheirBytes) {
  const std::vector<Segment> segments = {{Source::kTemplate, "user: "},
                                         {Source::kContent, "What is 3 + 4?"},
                                         {Source::kContent, ""},
                                         {Source::kTemplate, " assistant:"}};
  const auto result = tokenize(segments);
  ASSERT_EQ(result.spans.size(), segments.size());
  EXPECT_EQ(result.spans[0].begin, 0U);
  EXPECT_EQ(result.spans[2].begin, result.spans[2].end);
  EXPECT_EQ(result.spans[3].end, result.tokens.size());
  for (const std::size_t i : {0U, 1U, 3U}) {
    const TokenSpan span = result.spans[i];
    ASSERT_LT(span.begin, span.end);
    // Dropping the first or the last token of the span would lose a byte of the segment.
    std::string before, inside;
    for (std::size_t k = 0; k < span.begin; ++k) before += vocabulary->piece(result.tokens[k]);
    for (std::size_t k = span.begin; k < span.end; ++k)
      inside += vocabulary->piece(result.tokens[k]);
    EXPECT_NE((before + inside).find(segments[i].text), std::string::npos);
    EXPECT_NE(inside.find(segments[i].text.substr(1)), std::string::npos);
    EXPECT_LE(inside.size(), segments[i].text.size() + 12);
  }
}

// Llama 2's vocabulary puts a space before a fresh text. Its files name no user-defined words, so
// one ordinary token is declared to be one.
TEST(Segments, MarksAreSpelledOutWithoutSpacesOfOurOwn) {
  const std::string path = vocabulary_path("llama-spm");
  const auto plain = vocabulary_at(path);
  if (plain == nullptr) GTEST_SKIP() << "no file " << path;
  Token mark = 0;
  while (plain->piece(mark) != "ation") ++mark;
  const auto patched = patched_vocabulary(path, "tokenizer.ggml.token_type", [&](char* value) {
    const std::int32_t user_defined = 4;  // behind: array, its type, its length
    std::memcpy(value + 16 + 4 * mark, &user_defined, sizeof user_defined);
  });
  ASSERT_TRUE(patched.ok()) << patched.error().message;
  const Vocabulary& vocabulary = **patched;
  ASSERT_NE(vocabulary.special(mark), nullptr);
  const std::vector<Segment> segments = {{Source::kContent, "a nation, stations: ation"}};
  const auto with = tokenize_segments(vocabulary, segments, TextStart::kFresh, {});
  EXPECT_EQ(std::count(with->tokens.begin(), with->tokens.end(), mark), 3);
  const auto without = tokenize_segments(vocabulary, segments, TextStart::kFresh, {mark});
  EXPECT_EQ(std::count(without->tokens.begin(), without->tokens.end(), mark), 0);
  EXPECT_EQ(vocabulary.detokenize(without->tokens), segments[0].text);
}

// Many spellings in a row must not cost a level of recursion, or a pass over the text, each.
TEST(Segments, LongHostileTextsAreHandledInOneGo) {
  const auto vocabulary = vocabulary_at(real_model_path());
  if (vocabulary == nullptr) GTEST_SKIP() << "no model " << real_model_path();
  const auto& all = vocabulary->special_tokens();
  const auto mark = std::find_if(all.begin(), all.end(), [](const SpecialToken& special) {
    return special.text == "<tool_call>";
  });
  ASSERT_NE(mark, all.end());
  std::string text;
  for (int i = 0; i < 20000; ++i) text += mark->text;
  const std::vector<Segment> segments = {{Source::kContent, text}};
  const auto result = tokenize_segments(*vocabulary, segments, TextStart::kFresh, {mark->id});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(vocabulary->detokenize(result->tokens, ControlTokens::kShow), text);
  EXPECT_EQ(std::count(result->tokens.begin(), result->tokens.end(), mark->id), 0);
}

}  // namespace
}  // namespace restkv::testing
