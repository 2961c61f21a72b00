// Tasks that are made here, beside RULER's: the needle's grid and InfiniteBench's synthetic ones.
// Each answer is worked out again from the text alone.

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "eval/samples.h"

namespace restkv {
namespace {

TEST(Needle, StandsAtItsDepthBetweenSentences) {
  for (const TaskSample& sample : samples_or_fail("needle/grid", request_of({1000, 4000}, 40))) {
    EXPECT_LE(sample.tokens, sample.length);
    // The text is measured with one needle and holds another: a step of 50 words at the most.
    EXPECT_GE(sample.tokens + 50, sample.length);
    ASSERT_EQ(sample.answers.size(), 1U);
    EXPECT_EQ(occurrences(sample.prompt(), sample.answers[0]), 1U);
    const std::string body = sample.context.substr(sample.context.find("<text>\n") + 7);
    const std::size_t predicate = body.find(sample.answers[0]);
    const std::size_t begin =
        body.rfind('\n', predicate) == std::string::npos ? 0 : body.rfind('\n', predicate) + 1;
    const double place = 100.0 * static_cast<double>(begin) / static_cast<double>(body.size());
    ASSERT_TRUE(sample.depth.has_value());
    // A sentence before the depth at the most, and the needle itself.
    EXPECT_NEAR(place, *sample.depth, 100.0 * 250 / static_cast<double>(body.size()));
    if (begin > 0 && *sample.depth < 100) {
      EXPECT_EQ(body.substr(0, begin).find_last_of(".?!\""), begin - 2);
    }
    // The question repeats how the needle begins.
    const std::string opening = sample.answer_prefix.substr(8);
    EXPECT_EQ(body.substr(begin, opening.size()), opening);
    EXPECT_EQ(sample.stops, std::vector<std::string>{"\n"});
  }
}

TEST(Needle, TenDepthsAndThenAnotherNeedle) {
  const auto samples = samples_or_fail("needle/grid", request_of({1000}, 20));
  std::vector<double> depths;
  for (std::size_t i = 0; i < 10; ++i) depths.push_back(*samples[i].depth);
  // Few samples are spread over the text too.
  EXPECT_EQ(std::vector<double>(depths.begin(), depths.begin() + 3),
            (std::vector<double>{0, 100, 44}));
  std::ranges::sort(depths);
  EXPECT_EQ(depths, (std::vector<double>{0, 11, 22, 33, 44, 56, 67, 78, 89, 100}));
  EXPECT_EQ(samples[0].answers, samples[9].answers);
  EXPECT_NE(samples[0].answers, samples[10].answers);
  // The metric counts different words of the predicate.
  EXPECT_EQ(samples_or_fail("needle/grid", request_of({1000}, 0)).size(), 10U);
}

// No sentence of the essays ends so early; the text is whole behind the needle.
TEST(Needle, AHaystackThatBeginsWithALongSentenceLosesNothing) {
  RESTKV_NEEDS_DATA();
  const auto samples = samples_or_fail("needle/grid", request_of({400}, 10, Material::kAuto));
  const auto at_depth = [&](double depth) {
    const auto found =
        std::ranges::find(samples, depth, [](const TaskSample& one) { return *one.depth; });
    EXPECT_NE(found, samples.end());
    return found->context;
  };
  const std::string whole = at_depth(100);
  const std::string begin = whole.substr(whole.find("<text>\n") + 7, 20);
  for (const double depth : {0.0, 11.0}) {
    EXPECT_NE(at_depth(depth).find("\n" + begin), std::string::npos) << at_depth(depth);
  }
}

TEST(Needle, EssaysAreTheHaystackWhereTheyAre) {
  RESTKV_NEEDS_DATA();
  const auto samples = samples_or_fail("needle/grid", request_of({4000}, 10, Material::kAuto));
  for (const TaskSample& sample : samples) {
    EXPECT_EQ(sample.source, "the essays");
    EXPECT_LE(sample.tokens, sample.length);
    EXPECT_EQ(occurrences(sample.prompt(), sample.answers[0]), 1U);
  }
}

// A sample is measured on another one, so it may lack a step of units, never more.
void check_filled(const TaskSample& sample, std::size_t step_tokens) {
  EXPECT_LE(sample.tokens, sample.length) << sample.id;
  EXPECT_GE(sample.tokens + step_tokens, sample.length) << sample.id;
  EXPECT_EQ(sample.wording, "restkv-1");
}

TEST(InfiniteBenchMade, KeysStandTwiceAtEvenlySpreadPlaces) {
  for (const std::string task : {"passkey", "number_string"}) {
    const std::size_t digits = task == "passkey" ? 5 : 10;
    const auto samples = samples_or_fail(task, request_of({4096}, 59));
    ASSERT_EQ(samples.size(), 59U);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const std::string& key = samples[i].answers.at(0);
      EXPECT_EQ(key.size(), digits);
      EXPECT_EQ(key.find_first_not_of("0123456789"), std::string::npos);
      EXPECT_EQ(occurrences(samples[i].prompt(), key), 2U);
      const double place = static_cast<double>(samples[i].context.find(key)) /
                           static_cast<double>(samples[i].context.size());
      EXPECT_NEAR(place, static_cast<double>(i) / 58, 0.03) << i;
      check_filled(samples[i], 60);
      std::size_t repeats = 0;
      for (std::size_t d = 1; d < key.size(); ++d) repeats += key[d] == key[d - 1] ? 1 : 0;
      EXPECT_GE(repeats, task == "number_string" ? 5U : 0U) << key;
    }
    // A few samples reach from the beginning to the end.
    const auto few = samples_or_fail(task, request_of({4096}, 3));
    EXPECT_EQ(few[0].depth, 0);
    EXPECT_EQ(few[1].depth, 50);
    EXPECT_EQ(few[2].depth, 100);
  }
}

TEST(InfiniteBenchMade, PairsAreJsonWithOneAnswer) {
  for (const TaskSample& sample : samples_or_fail("kv_retrieval", request_of({4096}, 10))) {
    const std::string object = sample.context.substr(sample.context.find('{'));
    const auto pairs = nlohmann::ordered_json::parse(object);
    std::set<std::string> all;
    for (const auto& [key, value] : pairs.items()) {
      EXPECT_TRUE(all.insert(key).second);
      EXPECT_TRUE(all.insert(value.get<std::string>()).second);
      // Version 4 of RFC 9562.
      EXPECT_TRUE(std::regex_match(
          key, std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")));
    }
    const std::string key = sample.question.substr(sample.question.find('"') + 1, 36);
    EXPECT_EQ(pairs.at(key), sample.answers.at(0));
    const auto place =
        std::distance(pairs.begin(), pairs.find(key)) * 100 / static_cast<long>(pairs.size());
    EXPECT_NEAR(static_cast<double>(place), *sample.depth, 3);
    check_filled(sample, 10 * 40);
  }
}

TEST(InfiniteBenchMade, FindsAreRight) {
  std::set<std::string> answers;
  std::size_t decimals = 0;
  for (const TaskSample& sample : samples_or_fail("math_find", request_of({2048}, 70))) {
    const std::string list = sample.context.substr(sample.context.find('['));
    auto numbers = nlohmann::json::parse(list).get<std::vector<int>>();
    std::ranges::sort(numbers);
    std::vector<int> unique = numbers;
    unique.erase(std::ranges::unique(unique).begin(), unique.end());
    const auto rank = [&](std::string_view word) -> std::size_t {
      if (word.find("second") != std::string_view::npos) return 1;
      return word.find("third") != std::string_view::npos ? 2 : 0;
    };
    const std::string& query = sample.question;
    double expected = 0;
    if (query.find("largest") != std::string::npos) {
      expected = unique.at(unique.size() - 1 - rank(query));
    } else if (query.find("smallest") != std::string::npos) {
      expected = unique.at(rank(query));
    } else {
      ASSERT_NE(query.find("median"), std::string::npos);
      const std::size_t n = numbers.size();
      expected = 0.5 * (numbers.at((n - 1) / 2) + numbers.at(n / 2));
      EXPECT_EQ(sample.answers[0].find('.') != std::string::npos, n % 2 == 0);
      decimals += n % 2 == 0 ? 1 : 0;
    }
    EXPECT_EQ(std::stod(sample.answers.at(0)), expected) << query;
    answers.insert(sample.answers[0]);
    check_filled(sample, 50 * 2);
  }
  EXPECT_GT(answers.size(), 10U);
  EXPECT_GT(decimals, 0U);
  EXPECT_LT(decimals, 10U);
}

TEST(InfiniteBenchMade, SumsStayBetween0And99) {
  for (const TaskSample& sample : samples_or_fail("math_calc", request_of({2048}, 5))) {
    const std::string sum = lines_of(sample.context).back();
    const std::regex step(" ([+-]) ([0-9]+)");
    int value = std::stoi(sum);
    std::vector<std::string> values;
    for (std::sregex_iterator it(sum.begin(), sum.end(), step), end; it != end; ++it) {
      value += ((*it)[1] == "+" ? 1 : -1) * std::stoi((*it)[2]);
      EXPECT_GE(value, 0);
      EXPECT_LE(value, 99);
      values.push_back(std::to_string(value));
    }
    EXPECT_EQ(values, sample.answers);
    // The whole answer fits.
    std::string written;
    for (const std::string& one : values) written += one + ", ";
    EXPECT_GE(sample.max_new_tokens, word_tokenizer().count(written));
    check_filled(sample, 50 * 3);
  }
}

TEST(InfiniteBenchMade, CallsReturnTheAnswer) {
  const std::regex function("def (func_[0-9]+)\\(x\\):\n    return (.+?) ([+-]) ([0-9]+)\n");
  const std::regex call("(func_[0-9]+)\\((-?[0-9]+)\\)");
  std::map<std::size_t, std::size_t> depths;
  for (const TaskSample& sample : samples_or_fail("code_run", request_of({4096}, 20))) {
    struct Body {
      std::string callee;
      int adds = 0;
    };
    std::map<std::string, Body> bodies;
    for (std::sregex_iterator it(sample.context.begin(), sample.context.end(), function), end;
         it != end; ++it) {
      const int sign = (*it)[3] == "+" ? 1 : -1;
      EXPECT_TRUE(bodies.emplace((*it)[1], Body{(*it)[2], sign * std::stoi((*it)[4])}).second);
    }
    std::smatch asked;
    ASSERT_TRUE(std::regex_search(sample.question, asked, call));
    std::string name = asked[1];
    int value = std::stoi(asked[2]);
    std::size_t calls = 0;
    for (;; ++calls) {
      ASSERT_TRUE(bodies.contains(name)) << name;
      const Body& body = bodies[name];
      value += body.adds;
      if (body.callee == "x") break;
      name = body.callee.substr(0, body.callee.find('('));
    }
    EXPECT_EQ(std::to_string(value), sample.answers.at(0));
    ++depths[calls + 1];
    check_filled(sample, 10 * 20);
  }
  EXPECT_EQ(depths, (std::map<std::size_t, std::size_t>{{2, 4}, {4, 4}, {6, 4}, {8, 4}, {10, 4}}));
}

}  // namespace
}  // namespace restkv
