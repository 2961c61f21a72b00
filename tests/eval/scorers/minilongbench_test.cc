// The predictions that MiniLongBench publishes. The expected means come from LongBench's own code:
// section 2.5 of the reference on benchmarks, and for the sets that are scored by Chinese words
// LongBench's formulas run with the Python packages jieba and rouge.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "eval/chinese_words.h"
#include "eval/scorers/scoring.h"

namespace restkv {
namespace {

enum class Part : std::uint8_t { kWhole, kFirstLine };

struct Set {
  const char* name;
  const char* scorer;
  double percent;
  Part part = Part::kWhole;
};

std::ostream& operator<<(std::ostream& out, const Set& set) {
  return out << set.name << " " << set.scorer;
}

class MiniLongBench : public testing::TestWithParam<Set> {};

TEST_P(MiniLongBench, MeanIsTheOneOfTheOfficialCode) {
  const Set& set = GetParam();
  std::ifstream file(std::string(RESTKV_SHARED_DIR) + "/data/minilongbench/MiniLongBench_" +
                     set.name + ".json");
  if (!file) GTEST_SKIP() << "no data of MiniLongBench";
  std::optional<ChineseWords> words;
  if (scorer_named(set.scorer).needs_chinese_words) {
    auto loaded = ChineseWords::load(std::string(ChineseWords::kInstalledFolder));
    if (!loaded.ok()) GTEST_SKIP() << loaded.error().message;
    words = std::move(loaded).value();
  }
  const auto items = nlohmann::json::parse(file);
  double sum = 0;
  for (const auto& [key, item] : items.items()) {
    const auto& gold = item.at("gold");
    const auto text = item.at("prediction").get<std::string>();
    using Texts = std::vector<std::string>;
    const bool labelled = gold.is_object();
    sum += score_of(set.scorer, set.part == Part::kFirstLine ? first_answer_line(text) : text,
                    (labelled ? gold.at("answers") : gold).get<Texts>(),
                    labelled ? gold.at("all_classes").get<Texts>() : Texts(),
                    words ? &*words : nullptr);
  }
  EXPECT_NEAR(100 * sum / static_cast<double>(items.size()), set.percent, 0.00005);
}

constexpr Set kSets[] = {
    {"narrativeqa", "qa_f1", 3.3257},
    {"qasper", "qa_f1", 11.3566},
    {"multifieldqa_en", "qa_f1", 23.3320},
    {"hotpotqa", "qa_f1", 7.4444},
    {"2wikimqa", "qa_f1", 7.9863},
    {"musique", "qa_f1", 14.6695},
    {"gov_report", "rouge_l", 20.6043},
    {"qmsum", "rouge_l", 18.0003},
    {"multi_news", "rouge_l", 32.5903},
    {"trec", "classification", 37.5, Part::kFirstLine},
    {"trec", "classification", 31.25},
    {"triviaqa", "qa_f1", 83.9286, Part::kFirstLine},
    {"triviaqa", "qa_f1", 31.3745},
    {"samsum", "rouge_l", 27.1458, Part::kFirstLine},
    {"samsum", "rouge_l", 22.8115},
    {"lsht", "classification", 25.0, Part::kFirstLine},
    {"passage_count", "count", 0},
    {"passage_retrieval_en", "retrieval", 6.6667},
    {"passage_retrieval_zh", "retrieval_zh", 7.2222},
    {"lcc", "code_sim", 69.5769},
    {"lcc", "code_sim_lcs", 70.9231},
    {"repobench-p", "code_sim", 42.4348},
    {"repobench-p", "code_sim_lcs", 43.8261},
    {"multifieldqa_zh", "qa_f1_zh", 12.0095},
    {"dureader", "rouge_zh", 10.6990},
    {"vcsum", "rouge_zh", 8.1300},
};

INSTANTIATE_TEST_SUITE_P(All, MiniLongBench, testing::ValuesIn(kSets));

}  // namespace
}  // namespace restkv
