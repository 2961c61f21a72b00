// What holds for all thirteen tasks of RULER, and for each kind of haystack.

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "eval/draws.h"
#include "eval/prose.h"
#include "eval/samples.h"
#include "eval/tasks/ruler_common.h"
#include "eval/words.h"

namespace restkv {
namespace {

const std::vector<std::string> kNiah = {"niah_single_1",   "niah_single_2",   "niah_single_3",
                                        "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
                                        "niah_multivalue", "niah_multiquery"};
const std::vector<std::string> kOthers = {"vt", "cwe", "fwe", "qa_1", "qa_2"};

std::vector<std::string> all_ruler() {
  std::vector<std::string> names = kNiah;
  names.insert(names.end(), kOthers.begin(), kOthers.end());
  return names;
}

// keys asked for, values of each, needles that are no decoys
struct NiahCounts {
  std::size_t answers = 1;
  std::size_t needles = 1;
};
NiahCounts niah_counts(const std::string& task) {
  if (task == "niah_multikey_1") return {1, 4};
  if (task == "niah_multivalue" || task == "niah_multiquery") return {4, 4};
  return {1, 1};
}

// Names of keys and values in a prompt: of needles in the text, of keys in question and prefix.
std::size_t named_keys(const std::string& task) {
  return niah_counts(task).needles + 2 * (task == "niah_multiquery" ? 4 : 1);
}

// The most tokens that a sample may miss. The words of an essay, lines that say nothing and coded
// words, which all have two tokens, cost the same in every sample, and as many are there as fit:
// samples differ in the names alone that are hidden between them. Elsewhere units differ: one step
// of them, in documents of the usual size.
std::size_t most_missing(const std::string& task, const TaskSample& sample,
                         const Tokenizer& tokenizer) {
  constexpr std::size_t kWord = 8;  // tokens of a long one, and of its mark
  const std::size_t noise = tokenizer.count(kNoiseLine) + 1;
  const std::size_t lines = sample.length < 4096 ? 5 : 25;
  std::size_t longest_needle = 0;
  for (const std::string& line : lines_of(sample.context)) {
    if (!line.starts_with("One of the secret")) continue;
    longest_needle = std::max(longest_needle, tokenizer.count(line) + 1);
  }
  if (task == "niah_multikey_2" || task == "niah_multikey_3") return lines * longest_needle;
  if (task == "niah_single_1") return noise + named_keys(task) * kWord;
  if (task == "niah_single_3") return kWord + named_keys(task) * kWord + 36;  // a uuid's bytes
  if (task.starts_with("niah")) return kWord + named_keys(task) * kWord;
  if (task == "vt") return noise;  // names and values of one length
  if (task == "cwe") return 10 * (sample.length < 4096 ? 1 : 3) * (kWord + 2);
  if (task == "fwe") return 2 * kWord;  // several may come up once more at a time
  return 10 * tokenizer.count(sample.context) / occurrences(sample.context, "\nDocument ");
}

void check_lengths(const std::string& task, const TaskRequest& request) {
  for (const TaskSample& sample : samples_or_fail(task, request)) {
    const std::string what = task + " " + sample.id;
    EXPECT_EQ(sample.tokens, request.tokenizer.count(sample.prompt()) + request.template_tokens +
                                 sample.max_new_tokens)
        << what;
    EXPECT_LE(sample.tokens, sample.length) << what;
    EXPECT_GE(sample.tokens + most_missing(task, sample, request.tokenizer), sample.length) << what;
    EXPECT_FALSE(sample.question.empty()) << what;
    EXPECT_FALSE(sample.answer_prefix.empty()) << what;
    EXPECT_EQ(sample.wrap, Wrap::kChat) << what;
  }
}

TEST(Ruler, SamplesFillTheLength) {
  for (const std::string& task : all_ruler()) {
    check_lengths(task, request_of({1024, 4096, 10'000}, 3));
  }
}

TEST(Ruler, SamplesFillTheLengthFromTheOfficialFiles) {
  RESTKV_NEEDS_DATA();
  for (const std::string& task : all_ruler()) {
    check_lengths(task, request_of({2048, 8192}, 2, Material::kAuto));
  }
}

TEST(Ruler, OfficialFilesAreNamedAsTheSource) {
  RESTKV_NEEDS_DATA();
  const std::map<std::string, std::string> sources = {
      {"niah_single_1", "RULER's word lists"},
      {"niah_single_2", "RULER's word lists, the essays"},
      {"qa_1", "ruler/squad_dev_v2.0.json"},
      {"qa_2", "ruler/hotpot_dev_distractor_100.json"}};
  for (const auto& [task, source] : sources) {
    EXPECT_EQ(samples_or_fail(task, request_of({4096}, 1, Material::kAuto)).at(0).source, source);
    EXPECT_NE(samples_or_fail(task, request_of({4096}, 1)).at(0).source, source);
  }
}

TEST(Ruler, EveryByteCanBeAToken) {
  for (const std::string& task : all_ruler()) {
    TaskRequest request = request_of({16'384}, 1);
    request.tokenizer = byte_tokenizer();
    const TaskSample sample = samples_or_fail(task, request).at(0);
    EXPECT_EQ(sample.tokens, sample.prompt().size() + 20 + sample.max_new_tokens) << task;
    EXPECT_LE(sample.tokens, 16'384U) << task;
  }
}

void check_niah(const std::string& task, const TaskRequest& request) {
  const std::regex needle("One of the secret (number|uuid)s kept for ([^.]+?) is ([0-9a-f-]+)\\.");
  for (const TaskSample& sample : samples_or_fail(task, request)) {
    const std::string what = task + " " + sample.id;
    EXPECT_EQ(sample.answers.size(), niah_counts(task).answers) << what;
    for (const std::string& answer : sample.answers) {
      EXPECT_EQ(occurrences(sample.prompt(), answer), 1U) << what << " " << answer;
    }
    std::map<std::string, std::size_t> keys;
    std::set<std::string> values;
    std::set<std::string> asked_values;
    std::size_t needles = 0;
    for (std::sregex_iterator it(sample.context.begin(), sample.context.end(), needle), end;
         it != end; ++it) {
      ++needles;
      ++keys[(*it)[2]];
      EXPECT_TRUE(values.insert((*it)[3]).second) << what;
      if (sample.question.find((*it)[2]) != std::string::npos) asked_values.insert((*it)[3]);
    }
    const std::size_t each = task == "niah_multivalue" ? 4 : 1;
    for (const auto& [key, count] : keys) EXPECT_EQ(count, each) << what << " " << key;
    if (task == "niah_multikey_2" || task == "niah_multikey_3") {
      EXPECT_EQ(needles, lines_of(sample.context).size() - 1) << what;  // below the head
      EXPECT_GT(needles, 8U) << what;
    } else {
      EXPECT_EQ(needles, niah_counts(task).needles) << what;
    }
    // The question is answered by exactly the answers.
    EXPECT_EQ(asked_values, std::set<std::string>(sample.answers.begin(), sample.answers.end()))
        << what;
  }
}

TEST(RulerNiah, NeedlesAnswerTheQuestionAndNothingElseDoes) {
  for (const std::string& task : kNiah) check_niah(task, request_of({2048, 6000}, 10));
}

TEST(RulerNiah, NeedlesAnswerTheQuestionWithTheOfficialLists) {
  RESTKV_NEEDS_DATA();
  for (const std::string& task : kNiah) {
    check_niah(task, request_of({4096}, 10, Material::kAuto));
  }
}

TEST(RulerNiah, NeedlesStandEverywhereInTheText) {
  for (const std::string task : {"niah_single_1", "niah_single_2", "niah_multikey_3"}) {
    double least = 1;
    double most = 0;
    for (const TaskSample& sample : samples_or_fail(task, request_of({4096}, 60))) {
      const double place = static_cast<double>(sample.context.find(sample.answers[0])) /
                           static_cast<double>(sample.context.size());
      least = std::min(least, place);
      most = std::max(most, place);
    }
    EXPECT_LT(least, 0.15) << task;
    EXPECT_GT(most, 0.85) << task;
  }
}

// The ranks in the text, from 0 on, of the keys asked for, in the order of the question.
std::vector<std::size_t> asked_ranks(const TaskSample& sample) {
  const std::regex needle("One of the secret numbers kept for ([^.]+?) is ([0-9]+)\\.");
  std::vector<std::string> values;
  for (std::sregex_iterator it(sample.context.begin(), sample.context.end(), needle), end;
       it != end; ++it) {
    values.push_back((*it)[2]);
  }
  std::vector<std::size_t> ranks;
  for (const std::string& answer : sample.answers) {
    ranks.push_back(static_cast<std::size_t>(std::ranges::find(values, answer) - values.begin()));
  }
  return ranks;
}

TEST(RulerNiah, EveryNeedleOfTheTextIsAskedForInItsTurn) {
  std::set<std::size_t> alone;
  for (const TaskSample& sample : samples_or_fail("niah_multikey_1", request_of({1024}, 60))) {
    alone.insert(asked_ranks(sample).at(0));
  }
  EXPECT_EQ(alone, (std::set<std::size_t>{0, 1, 2, 3}));
  std::vector<std::set<std::size_t>> places(4);
  for (const TaskSample& sample : samples_or_fail("niah_multiquery", request_of({1024}, 60))) {
    const std::vector<std::size_t> ranks = asked_ranks(sample);
    ASSERT_EQ(ranks.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) places[i].insert(ranks[i]);
    // The question names the keys in the order of the answers.
    std::vector<std::size_t> named;
    for (const std::string& answer : sample.answers) {
      const std::size_t end = sample.context.find(" is " + answer + ".");
      const std::size_t begin = sample.context.rfind(" for ", end) + 5;
      named.push_back(sample.question.find(sample.context.substr(begin, end - begin)));
    }
    EXPECT_TRUE(std::ranges::is_sorted(named)) << sample.id;
  }
  for (const auto& place : places) EXPECT_EQ(place, (std::set<std::size_t>{0, 1, 2, 3}));
}

TEST(RulerNiah, ABlankFollowsEveryNeedle) {
  const std::regex needle("One of the secret numbers kept for [^.]+? is [0-9]+\\.");
  std::size_t at_the_beginning = 0;
  for (const TaskSample& sample : samples_or_fail("niah_multiquery", request_of({1024}, 60))) {
    const std::string text = sample.context.substr(sample.context.find('\n') + 1);
    at_the_beginning += text.starts_with("One of the secret") ? 1 : 0;
    for (std::sregex_iterator it(text.begin(), text.end(), needle), end; it != end; ++it) {
      const auto behind = static_cast<std::size_t>(it->position(0) + it->length(0));
      EXPECT_TRUE(behind == text.size() || text[behind] == ' ')
          << sample.id << ": " << text.substr(behind, 20);
    }
  }
  EXPECT_GE(at_the_beginning, 2U);
}

TEST(RulerNiah, EssaysStayWholeAroundTheNeedles) {
  const std::regex needle(" ?One of the secret numbers kept for [^.]+? is [0-9]+\\.");
  for (const TaskSample& sample : samples_or_fail("niah_multiquery", request_of({3000}, 5))) {
    const std::string body = sample.context.substr(sample.context.find('\n') + 1);
    std::string essay = std::regex_replace(body, needle, "");
    if (essay.starts_with(" ")) essay.erase(0, 1);
    const auto prose = load_prose(request_of({}, 1));
    ASSERT_TRUE(prose.ok());
    const auto words = static_cast<std::size_t>(std::ranges::count(essay, ' ')) + 1;
    EXPECT_EQ(essay, prose->first(words));
    EXPECT_EQ(body.find("  "), std::string::npos);
  }
}

TEST(RulerVt, TheChainIsInOrderAndTheExampleIsSolved) {
  const std::regex first("VAR ([A-Z]{5}) = ([0-9]{5})\n");
  const std::regex next("VAR ([A-Z]{5}) = VAR ([A-Z]{5}) \n");
  std::set<std::string> examples;
  for (const TaskSample& sample : samples_or_fail("vt", request_of({4096}, 10))) {
    ASSERT_EQ(sample.answers.size(), 5U);
    std::smatch start;
    ASSERT_TRUE(std::regex_search(sample.context, start, first));
    EXPECT_EQ(start[1], sample.answers[0]);
    EXPECT_NE(sample.question.find(start[2]), std::string::npos);
    std::string before = start[1];
    std::vector<std::string> chain = {before};
    for (std::sregex_iterator it(sample.context.begin(), sample.context.end(), next), end;
         it != end; ++it) {
      EXPECT_EQ((*it)[2], before);
      EXPECT_GT(it->position(0), start.position(0));
      before = (*it)[1];
      chain.push_back(before);
    }
    EXPECT_EQ(chain, sample.answers);
    EXPECT_EQ(std::set<std::string>(chain.begin(), chain.end()).size(), 5U);
    // The example: five names of three letters, said again in its answer.
    const std::size_t answer = sample.context.find("they are: ");
    ASSERT_NE(answer, std::string::npos);
    const std::string names = sample.context.substr(answer + 10, 19);
    EXPECT_TRUE(std::regex_match(names, std::regex("([A-Z]{3} ){4}[A-Z]{3}"))) << names;
    EXPECT_TRUE(examples.insert(names).second);
    EXPECT_LE(word_tokenizer().count(sample.context.substr(0, answer + 29)), 500U);
  }
}

// Words of the last numbered list.
std::map<std::string, std::size_t> counted_list(const std::string& context) {
  const std::size_t begin = context.rfind("\n1. ");
  std::map<std::string, std::size_t> counts;
  const std::string list = " " + context.substr(begin + 1);
  const std::regex entry(" ([0-9]+)\\. (.+?)(?= [0-9]+\\. |$)");
  std::size_t expected = 0;
  for (std::sregex_iterator it(list.begin(), list.end(), entry), end; it != end; ++it) {
    EXPECT_EQ(std::stoul((*it)[1]), ++expected);
    ++counts[(*it)[2]];
  }
  return counts;
}

void check_cwe(std::size_t length, std::size_t common, std::size_t uncommon) {
  for (const TaskSample& sample : samples_or_fail("cwe", request_of({length}, 3))) {
    const auto counts = counted_list(sample.context);
    ASSERT_EQ(sample.answers.size(), 10U);
    for (const auto& [word, count] : counts) {
      const bool asked = std::ranges::find(sample.answers, word) != sample.answers.end();
      EXPECT_EQ(count, asked ? common : uncommon) << word;
    }
    for (const std::string& answer : sample.answers) EXPECT_TRUE(counts.contains(answer));
    EXPECT_GT(counts.size(), 20U);
  }
}

TEST(RulerCwe, TenWordsComeUpMoreOften) {
  check_cwe(4096, 30, 3);
  check_cwe(2048, 6, 1);
}

TEST(RulerCwe, RealWordsAreEnoughForALongList) {
  RESTKV_NEEDS_DATA();
  const TaskRequest request = request_of({60'000}, 1, Material::kAuto);
  const auto lists = load_word_lists(request);
  ASSERT_TRUE(lists.ok());
  const std::vector<std::string> real = vocabulary_of(*lists, 0);
  std::size_t words = 0;
  for (const auto& [word, count] : counted_list(samples_or_fail("cwe", request).at(0).context)) {
    EXPECT_TRUE(std::ranges::binary_search(real, word)) << word;
    ++words;
  }
  EXPECT_GT(words, 1000U);
}

TEST(RulerCwe, InventedWordsFillALongList) {
  EXPECT_LE(samples_or_fail("cwe", request_of({60'000}, 1)).at(0).tokens, 60'000U);
}

TEST(RulerFwe, CountsFollowTheZetaDistribution) {
  for (const TaskSample& sample : samples_or_fail("fwe", request_of({1024, 8192}, 3))) {
    std::map<std::string, std::size_t> counts;
    const std::string text = lines_of(sample.context).back() + " ";
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find(' ', at);
      ++counts[text.substr(at, end - at)];
      at = end + 1;
    }
    std::vector<std::size_t> ranked;
    for (const auto& [word, count] : counts) ranked.push_back(count);
    std::ranges::sort(ranked, std::greater<>());
    // Some n must explain all counts.
    const auto explains = [&](std::size_t n) {
      for (std::size_t k = 1; k <= ranked.size(); ++k) {
        const auto rank = static_cast<double>(k);
        const double expected = static_cast<double>(n) / (rank * rank) / 1.644934;
        if (ranked[k - 1] != static_cast<std::size_t>(expected)) return false;
      }
      return true;
    };
    bool found = false;
    for (std::size_t n = ranked[0]; n < 2 * ranked[0]; ++n) found = found || explains(n);
    EXPECT_TRUE(found) << sample.id;
    EXPECT_EQ(counts.at("..."), ranked[0]);
    ASSERT_EQ(sample.answers.size(), 3U);
    for (std::size_t k = 0; k < 3; ++k) EXPECT_EQ(counts.at(sample.answers[k]), ranked[k + 1]);
    EXPECT_GT(ranked[3], ranked[4]);  // the answer is unique
  }
}

// Coded words of one to seven tokens: a sample's most frequent ones decide how many tokens it has.
TEST(RulerFwe, SamplesFillTheLengthWhereWordsDifferInTokens) {
  TaskRequest request = request_of({2048, 4096}, 20);
  request.tokenizer = uneven_tokenizer();
  for (const TaskSample& sample : samples_or_fail("fwe", request)) {
    const std::string text = lines_of(sample.context).back();
    const std::size_t words = occurrences(text, " ") + 1;
    const std::size_t step = (sample.length - sample.max_new_tokens) / 32;  // words
    // Counts are rounded down, which hides a few words of every step until they add up to one.
    const std::size_t step_tokens = step * request.tokenizer.count(text) / words * 21 / 20;
    EXPECT_LE(sample.tokens, sample.length) << sample.id;
    EXPECT_GE(sample.tokens + step_tokens, sample.length) << sample.id;
  }
}

void check_qa(const std::string& task, const TaskRequest& request) {
  for (const TaskSample& sample : samples_or_fail(task, request)) {
    const bool any = std::ranges::any_of(sample.answers, [&](const std::string& answer) {
      return answer == "yes" || answer == "no" || sample.context.find(answer) != std::string::npos;
    });
    EXPECT_TRUE(any) << task << " " << sample.id;
    EXPECT_NE(sample.context.find("Document 1:\n"), std::string::npos);
    EXPECT_EQ(sample.answer_prefix, "Answer:");
    EXPECT_EQ(occurrences(sample.context, "Document 1:\n"), 1U);
  }
}

TEST(RulerQa, TheAnswerStandsInTheDocuments) {
  for (const std::string task : {"qa_1", "qa_2"}) {
    check_qa(task, request_of({512, 4096}, 20));
    for (const TaskSample& sample : samples_or_fail(task, request_of({4096}, 20))) {
      EXPECT_EQ(sample.question.find(sample.answers[0]), std::string::npos);
    }
  }
}

TEST(RulerQa, TheAnswerStandsInTheOfficialDocuments) {
  RESTKV_NEEDS_DATA();
  check_qa("qa_1", request_of({2048, 8192}, 20, Material::kAuto));
  check_qa("qa_2", request_of({1024, 8192}, 20, Material::kAuto));
}

TEST(RulerQa, TheFirstQuestionsOfTheFileAreAsked) {
  RESTKV_NEEDS_DATA();
  const auto squad = samples_or_fail("qa_1", request_of({2048}, 3000, Material::kAuto));
  EXPECT_EQ(squad.size(), 2910U);  // all that can be answered
  const auto hotpot = samples_or_fail("qa_2", request_of({2048}, 500, Material::kAuto));
  EXPECT_EQ(hotpot.size(), 100U);
}

}  // namespace
}  // namespace restkv
