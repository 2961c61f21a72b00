// LongBench's and InfiniteBench's scorers of Chinese text.

#include <algorithm>

#include "eval/chinese_words.h"
#include "eval/scorers/rouge_common.h"
#include "eval/scorers/words_common.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

// What LongBench takes for Chinese punctuation, beside ASCII's. It lacks 《, 〈 and 〉.
constexpr std::u32string_view kPunctuation =
    U"！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔"
    U"〕〖〗"
    U"〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏";

std::u32string normal_chinese(std::string_view text) {
  auto result = lower_case(code_points(text));
  std::erase_if(result, [](char32_t c) {
    return is_ascii_punctuation(c) || is_space(c) ||
           kPunctuation.find(c) != std::u32string_view::npos;
  });
  return result;
}

using Words = std::vector<std::u32string>;

Words words_of(const ChineseWords& chinese, std::string_view text) {
  Words words;
  for (const std::string& piece : chinese.cut(text)) {
    auto word = normal_chinese(piece);
    if (!word.empty()) words.push_back(std::move(word));
  }
  return words;
}

Result<Score> qa_f1_zh(const ScoringRequest& request) {
  const Words prediction = words_of(*request.chinese_words, request.prediction);
  return best_over_answers(request, [&](std::string_view answer) {
    return multiset_f1(prediction, words_of(*request.chinese_words, answer));
  });
}

Words characters_of(std::string_view text) {
  Words characters;
  for (const char32_t c : normal_chinese(text)) characters.emplace_back(1, c);
  return characters;
}

Result<Score> char_f1_zh(const ScoringRequest& request) {
  const Words prediction = characters_of(request.prediction);
  return best_over_answers(request, [&](std::string_view answer) {
    return multiset_f1(prediction, characters_of(answer));
  });
}

std::u32string spaced(const ChineseWords& chinese, std::string_view text) {
  std::u32string result;
  for (const std::string& piece : chinese.cut(text)) {
    if (!result.empty()) result += U' ';
    result += code_points(piece);
  }
  return result;
}

Result<Score> rouge_zh(const ScoringRequest& request) {
  const auto prediction = spaced(*request.chinese_words, request.prediction);
  Score best;
  for (const std::string& answer : request.answers) {
    RESTKV_ASSIGN(const double value,
                  rouge_l_of_sets(prediction, spaced(*request.chinese_words, answer)));
    best.value = std::max(best.value, value);
  }
  return best;
}

constexpr ScorerInfo kScorers[] = {
    {.name = "qa_f1_zh",
     .summary = "F1 of jieba's words without punctuation",
     .needs_chinese_words = true,
     .score = qa_f1_zh},
    {.name = "char_f1_zh",
     .summary = "F1 of characters without punctuation (longbook_qa_chn)",
     .score = char_f1_zh},
    {.name = "rouge_zh",
     .summary = "rouge_l of jieba's words",
     .needs_chinese_words = true,
     .score = rouge_zh},
};

}  // namespace

extern const ScorerFamily chinese_scorers;
constinit const ScorerFamily chinese_scorers{.source = "LongBench and InfiniteBench",
                                             .scorers = kScorers};

}  // namespace restkv
