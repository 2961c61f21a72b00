#include "eval/truncate.h"

#include "eval/samples.h"

namespace restkv {
namespace {

TaskRequest bytes_request() {
  TaskRequest request = request_of({}, 1);
  request.tokenizer = byte_tokenizer();
  request.template_tokens = 0;
  return request;
}

TaskSample sample_of(std::string context, std::string question, std::string prefix) {
  TaskSample sample;
  sample.context = std::move(context);
  sample.question = std::move(question);
  sample.answer_prefix = std::move(prefix);
  return sample;
}

TEST(TruncateMiddle, LeavesWhatFits) {
  TaskSample sample = sample_of("0123456789", "ab", "c");
  EXPECT_EQ(truncate_middle(sample, 13, bytes_request()), Cut::kNothing);
  EXPECT_EQ(sample.prompt(), "0123456789abc");
}

TEST(TruncateMiddle, KeepsBothHalves) {
  TaskSample sample = sample_of("0123456789", "ab", "c");
  EXPECT_EQ(truncate_middle(sample, 11, bytes_request()), Cut::kMiddle);
  EXPECT_EQ(sample.context, "0123489");  // floor(11 / 2) at either end
  EXPECT_EQ(sample.question, "ab");
  EXPECT_EQ(sample.answer_prefix, "c");
}

TEST(TruncateMiddle, CutsAQuestionThatIsLongerThanAHalf) {
  TaskSample sample = sample_of("012", "abcdefgh", "!");
  truncate_middle(sample, 8, bytes_request());
  EXPECT_EQ(sample.context, "012a");
  EXPECT_EQ(sample.question, "fgh");
  EXPECT_EQ(sample.answer_prefix, "!");
}

TEST(TruncateMiddle, DropsHalvesOfCharacters) {
  // Two, three and four bytes, cut at every place.
  const std::string text = "\u00e9\u4e2d\U0001f600\u00e9\u4e2d\U0001f600";
  for (std::size_t cap = 2; cap < text.size(); ++cap) {
    TaskSample sample = sample_of(text, "", "");
    truncate_middle(sample, cap, bytes_request());
    const std::string left = sample.context + sample.question;
    EXPECT_LE(left.size(), cap);
    EXPECT_GE(left.size() + 7, cap);
    // Whole characters of the text alone: each begins where the last one ended.
    for (std::size_t at = 0; at < left.size();) {
      const auto byte = static_cast<unsigned char>(left[at]);
      const std::size_t size = byte == 0xc3 ? 2 : byte == 0xe4 ? 3 : byte == 0xf0 ? 4 : 0;
      ASSERT_NE(size, 0U) << cap;
      ASSERT_NE(text.find(left.substr(at, size)), std::string::npos) << cap;
      at += size;
    }
  }
}

TEST(FitToLength, LeavesRoomForTemplateAndAnswer) {
  TaskRequest request = bytes_request();
  request.template_tokens = 7;
  TaskSample sample = sample_of(std::string(500, 'x'), "question", "prefix");
  sample.max_new_tokens = 30;
  TaskSample cut = sample;
  ASSERT_TRUE(fit_to_length(cut, 200, request).ok());
  EXPECT_LE(cut.tokens, 200U);
  EXPECT_GE(cut.tokens, 199U);
  EXPECT_TRUE(cut.prompt().ends_with("xquestionprefix"));
  TaskSample whole = sample;
  ASSERT_TRUE(fit_to_length(whole, 0, request).ok());
  EXPECT_EQ(whole.prompt(), sample.prompt());
  EXPECT_EQ(whole.tokens, 500U + 8 + 6 + 7 + 30);
  EXPECT_EQ(fit_to_length(sample, 40, request).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace restkv
