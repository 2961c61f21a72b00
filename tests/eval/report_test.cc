#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "eval/report/report.h"
#include "eval/report/report_pictures.h"

namespace restkv {
namespace {

constexpr const char* kNasty = "<b>\"a\", b & 'c'</b> | \xFF\nnext";

EvalRow row_of(const std::string& policy, const std::string& budget, std::int64_t sample,
               double score) {
  EvalRow row;
  row.fingerprint = "f";
  row.model = "m.gguf";
  row.suite = "suite";
  row.category = "kind";
  row.task = "suite/a";
  row.length = 512;
  row.sample = "512/" + std::to_string(sample);
  row.policy = policy;
  row.budget = budget;
  row.variant = policy + (budget.empty() ? "" : " " + budget);
  row.variant_json = R"({"policy":")" + policy + "\"}";
  row.settings = "{}";
  row.answers = R"(["right"])";
  row.prediction = kNasty;
  row.score = score;
  row.prompt_tokens = 4;
  row.kept_tokens = budget.empty() ? 4 : 1;
  row.depth = sample == 0 ? 0 : 50;
  row.prompt_hash = "h" + std::to_string(sample);
  return row;
}

ReportData some_data() {
  ReportData data;
  data.title = "A <title>";
  for (std::int64_t sample = 0; sample < 2; ++sample) {
    data.rows.push_back(row_of("full", "", sample, 1));
    data.rows.push_back(row_of("snapkv", "64", sample, sample == 0 ? 1 : 0));
    data.rows.push_back(row_of("snapkv", "128", sample, 1));
  }
  data.rows[1].kept = "9050";
  data.prompts["h0"] = {.hash = "h0", .pieces = {"sink ", "dropped ", "some ", "gone"}};
  auto summary = summarise(data.rows, {});
  EXPECT_TRUE(summary.ok());
  data.summary = std::move(summary).value();
  return data;
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// Word problems: a phrase with another number after it, a number without the phrase, neither.
TEST(Report, JsonHasBothWaysToFindANumber) {
  ReportData data;
  for (const char* prediction :
       {"The answer is 18. Also 3 cats.", "so 18", "The answer is 18", "none"}) {
    EvalRow row = row_of("full", "", static_cast<std::int64_t>(data.rows.size()), 1);
    row.metric = "number";
    row.answers = R"(["18"])";
    row.prediction = prediction;
    data.rows.push_back(row);
  }
  data.summary = *summarise(data.rows, {});
  const auto json = nlohmann::json::parse(report_json(data));
  using Scores = std::pair<double, double>;
  const auto scores = [&](std::size_t row) {
    return Scores(json["rows"][row]["score_strict"], json["rows"][row]["score_flexible"]);
  };
  EXPECT_EQ(scores(0), Scores(1, 0));
  EXPECT_EQ(scores(1), Scores(0, 1));
  EXPECT_EQ(scores(2), Scores(1, 1));
  EXPECT_EQ(scores(3), Scores(0, 0));
  ASSERT_EQ(json["summary"].size(), 4U);  // levels
  for (const auto& entry : json["summary"]) {
    EXPECT_EQ(entry["score_strict"], 0.5);
    EXPECT_EQ(entry["score_flexible"], 0.5);
  }
  // Of other metrics there are none.
  const auto other = nlohmann::json::parse(report_json(some_data()));
  EXPECT_TRUE(other["rows"][0]["score_strict"].is_null());
  EXPECT_TRUE(other["summary"][0]["score_flexible"].is_null());
}

TEST(Report, JsonHasRowsAndSummary) {
  const auto json = nlohmann::json::parse(report_json(some_data()));
  ASSERT_EQ(json["rows"].size(), 6U);
  for (const char* field : {"task", "length", "sample", "variant", "policy", "options", "budget",
                            "allocator", "schedule", "granularity", "mode", "prefill",
                            "decode_attn", "decode_budget", "prediction", "score"}) {
    EXPECT_TRUE(json["rows"][0].contains(field)) << field;
  }
  EXPECT_EQ(json["rows"][0]["answers"], nlohmann::json::parse(R"(["right"])"));
  bool found = false;
  for (const auto& entry : json["summary"]) {
    if (entry["level"] != "suite" || entry["variant"] != "snapkv 64") continue;
    found = true;
    EXPECT_EQ(entry["mean"], 0.5);
    EXPECT_EQ(entry["variance_over_samples"], 0.5);
    EXPECT_TRUE(entry["variance_over_tasks"].is_null());
    EXPECT_EQ(entry["against_full"]["difference"], -0.5);
    EXPECT_EQ(entry["against_full"]["pairs"], 2);
  }
  EXPECT_TRUE(found);
}

// A mean over one length beside one over two says so; where all have the same nothing is said.
TEST(Report, TablesTellWhatLengthsAVariantHas) {
  ReportData data = some_data();
  EXPECT_EQ(report_markdown(data).find("| lengths |"), std::string::npos);
  EvalRow longer = row_of("full", "", 0, 0.5);
  longer.length = 1024;
  data.rows.push_back(longer);
  data.summary = summarise(data.rows, {}).value();
  std::string text = report_markdown(data);
  EXPECT_NE(text.find("| variant | lengths | score | samples |"), std::string::npos) << text;
  EXPECT_NE(text.find("| full | 512, 1024 | 75.0 | 3 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| snapkv 64 | 512 | 50.0 | 2 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| variant | lengths | score | over samples |"), std::string::npos) << text;
  // All are compared with it at the length that they share.
  EXPECT_NE(text.find("| variant | difference |"), std::string::npos) << text;
  longer = row_of("snapkv", "64", 0, 0.5);
  longer.length = 1024;
  data.rows.push_back(longer);
  data.summary = summarise(data.rows, {}).value();
  text = report_markdown(data);
  EXPECT_NE(text.find("| variant | lengths | difference |"), std::string::npos) << text;
}

// KVzip's own budget is one for all layers: whoever reads results must see what ours was.
TEST(Report, SaysWhatBudgetsAreOf) {
  ReportData data = some_data();
  data.rows[1].policy = data.rows[2].policy = "kvzip";
  data.rows[1].allocator = "uniform";
  data.rows[2].allocator = "global:floor=8";
  const auto json = nlohmann::json::parse(report_json(data));
  EXPECT_TRUE(json["rows"][0]["budgets"].is_null());
  EXPECT_EQ(json["rows"][1]["budgets"], "per layer");
  EXPECT_EQ(json["rows"][2]["budgets"], "for all layers together");
  EXPECT_NE(json["rows"][1]["publication"].get<std::string>().find("with budgets per layer"),
            std::string::npos);
  for (const std::string& text : {report_markdown(data), report_html(data)}) {
    EXPECT_NE(text.find("kvzip: KVzip, arXiv 2505.23416, with budgets per layer"),
              std::string::npos);
    EXPECT_NE(text.find("Budgets: global:floor=8: for all layers together; uniform: per layer"),
              std::string::npos);
  }
}

// What was left to the model is not said; what is no object is shown as it is.
TEST(Report, SettingsAreReadByPeople) {
  ReportData data = some_data();
  const auto settings_line = [&data](const char* settings) {
    for (EvalRow& row : data.rows) row.settings = settings;
    const std::string text = report_markdown(data);
    const std::size_t at = text.find("Settings: ");
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(settings_line(R"({"products":"auto","rope_scaling":-1,"rope_freq_base":null,)"
                          R"("yarn":[null,null],"repack":false})"),
            "Settings: products auto, repack false");
  EXPECT_EQ(settings_line(R"({"rope_scaling":2,"yarn":[null,0.5]})"),
            "Settings: rope_scaling 2, yarn [null,0.5]");
  EXPECT_EQ(settings_line("{}"), "");
  EXPECT_EQ(settings_line("by hand"), "Settings: by hand");
}

// What the columns do not say in words: pieces, and the sizes of blocks.
TEST(Report, NamesApproximationsAndBlockSizes) {
  ReportData data = some_data();
  data.rows[0].schedule = data.rows[4].schedule = "chunk:2048";
  data.rows[1].decode_attn = "ab-sparse";
  data.rows[1].options = "decode.estimator=quest decode.block=32 decode.summaries=int4";
  data.rows[2].decode_attn = "ab-sparse:estimator=arkvale";
  data.rows[2].options =
      "decode.estimator=arkvale decode.table=0123abcd decode.table_mean=harmonic "
      "decode.table_mean_rows=32 decode.table_texts=squad.json";
  data.rows[3].options = "decode.block=32 decode.table=0123abcd";  // as rows once had it
  const auto json = nlohmann::json::parse(report_json(data));
  EXPECT_EQ(json["rows"][4]["approximation"], true);
  EXPECT_EQ(json["rows"][0]["approximation"], false) << "a full cache drops nothing";
  EXPECT_EQ(json["rows"][1]["approximation"], false);
  EXPECT_TRUE(json["rows"][0]["block_sizes"].is_null());
  EXPECT_EQ(json["rows"][1]["block_sizes"], "blocks of 32 for all heads");
  const std::string measured =
      "a block size for each head, harmonic mean 32, measured on squad.json";
  EXPECT_EQ(json["rows"][2]["block_sizes"], measured);
  EXPECT_NE(json["rows"][3]["block_sizes"].get<std::string>().find("does not name"),
            std::string::npos);
  for (const std::string& text : {report_markdown(data), report_html(data)}) {
    EXPECT_NE(text.find("ab-sparse: blocks of 32 for all heads"), std::string::npos);
    EXPECT_NE(text.find("ab-sparse:estimator=arkvale: " + measured), std::string::npos);
    EXPECT_NE(text.find("read in pieces: chunk:2048"), std::string::npos);
  }
  const std::string plain = report_markdown(some_data());
  EXPECT_EQ(plain.find("Decode by blocks"), std::string::npos);
  EXPECT_EQ(plain.find("Approximations"), std::string::npos);
}

// Read again by the rules of RFC 4180.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> lines(1);
  std::string field;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] != '"') {
        field += text[i];
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == ',' || text[i] == '\n') {
      lines.back().push_back(std::exchange(field, ""));
      if (text[i] == '\n') lines.emplace_back();
    } else if (text[i] != '\r') {
      field += text[i];
    }
  }
  lines.pop_back();
  return lines;
}

TEST(Report, CsvComesBackFieldByField) {
  const auto lines = parse_csv(report_csv(some_data()));
  ASSERT_EQ(lines.size(), 7U);
  const auto at = std::ranges::find(lines[0], "prediction") - lines[0].begin();
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines[0].size());
  EXPECT_EQ(lines[1][static_cast<std::size_t>(at)], kNasty);
}

TEST(Report, MarkdownTablesAreAsWideAsTheirHeaders) {
  const std::string text = report_markdown(some_data());
  EXPECT_NE(text.find("| snapkv 64 | 50.0 | 2 | 25.0 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| snapkv 64 | -50.0 |"), std::string::npos) << text;
  std::size_t width = 0;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    const std::string line = text.substr(begin, end - begin);
    const std::size_t bars = count(line, "|") - count(line, "\\|");
    if (bars != 0 && width != 0) {
      EXPECT_EQ(bars, width) << line;
    }
    width = bars;
    begin = end + 1;
  }
}

TEST(Report, HtmlIsOneFileAndEscapesWhatItShows) {
  const std::string text = report_html(some_data());
  EXPECT_EQ(text.find("<b>\"a\""), std::string::npos);
  EXPECT_NE(text.find("&lt;b&gt;&quot;a&quot;, b &amp; &#39;c&#39;"), std::string::npos);
  EXPECT_NE(text.find("<title>A &lt;title&gt;</title>"), std::string::npos);
  for (const char* outside : {"http://", "https://", "src=", "@import", "<script", "<link"}) {
    EXPECT_EQ(text.find(outside), std::string::npos) << outside;
  }
  EXPECT_NE(text.find("name=\"viewport\""), std::string::npos);
  for (const char* tag : {"table", "details", "svg", "pre", "figure", "tr", "td", "p", "div"}) {
    const std::string open = std::string("<") + tag;
    EXPECT_EQ(count(text, open + ">") + count(text, open + " "),
              count(text, std::string("</") + tag + ">"))
        << tag;
  }
}

// Samples of several seeds share their names; numbers count up.
TEST(Report, HtmlTellsSamplesApart) {
  ReportData data;
  for (const std::int64_t sample : {10, 2}) data.rows.push_back(row_of("full", "", sample, 1));
  data.summary = summarise(data.rows, {}).value();
  const std::string one = report_html(data);
  EXPECT_LT(one.find("<summary>512/2, right:"), one.find("<summary>512/10, right:")) << one;
  data.rows.push_back(row_of("full", "", 2, 1));
  data.rows.back().seed = 43;
  data.rows.back().prompt_hash = "another";
  const std::string text = report_html(data);
  EXPECT_NE(text.find("<summary>512/2, seed 0, right:"), std::string::npos) << text;
  EXPECT_NE(text.find("<summary>512/2, seed 43, right:"), std::string::npos) << text;
}

TEST(Report, HtmlMarksTheKeptTokens) {
  const std::string text = report_html(some_data());
  EXPECT_NE(text.find("<span class='k9'>sink </span>dropped <span class='k'>some </span>gone"),
            std::string::npos);
  EXPECT_NE(text.find("<span class='k9'>kept by more than 8 of 9 heads</span> <span "
                      "class='k'>by fewer</span> by none"),
            std::string::npos);
  // The full cache keeps the whole prompt.
  EXPECT_NE(text.find("<span class='k9'>sink dropped some gone</span>"), std::string::npos);
}

TEST(Report, CurvesHaveAPointForEachBudgetAndALevelForTheFullCache) {
  const std::string text = budget_curves(some_data(), "m.gguf", "suite");
  EXPECT_EQ(count(text, "<circle"), 2U);
  EXPECT_EQ(count(text, "<polyline"), 1U);
  EXPECT_EQ(count(text, "class='full'"), 2U);  // and its place in the legend
  EXPECT_EQ(budget_curves(some_data(), "m.gguf", "another"), "");
}

// Colours come again after 8 lines: with the dashes no two lines look the same, nor their places in
// the legend.
TEST(Report, CurvesAreToldApart) {
  constexpr std::size_t kLines = 21;
  ReportData data = some_data();
  for (std::size_t i = 1; i < kLines; ++i) {
    data.rows.push_back(row_of("method" + std::to_string(i), "64", 0, 1));
  }
  data.summary = summarise(data.rows, {}).value();
  for (const std::string& text :
       {budget_curves(data, "m.gguf", "suite"), budget_curves_svg(data, "m.gguf", "suite")}) {
    std::map<std::string, std::size_t> strokes;
    for (std::size_t at = 0; (at = text.find("stroke-width='2' ", at)) != std::string::npos; ++at) {
      const std::size_t dashes = text.find("dasharray='", at) + 11;
      ++strokes[text.substr(at, text.find('\'', dashes) - at)];
    }
    EXPECT_EQ(strokes.size(), kLines);
    for (const auto& [stroke, times] : strokes) EXPECT_EQ(times, 2U) << stroke;
  }
}

// A full cache of which a step reads a part stands where its reading is, not at the whole prompt.
TEST(Report, CurvesStandWhereWhatIsReadIs) {
  ReportData data = some_data();
  const auto sparse = [&data](const char* policy, const char* budget, double kept) {
    EvalRow row = row_of(policy, budget, 0, 1);
    row.variant += " decode_attn=ab-sparse";
    row.decode_attn = "ab-sparse";
    row.decode_budget = budget;
    row.prompt_tokens = 1000;
    row.kept_tokens = kept;
    data.rows.push_back(row);
  };
  sparse("full", "100", 1000);
  sparse("full", "25%", 1000);
  sparse("tova", "100", 40);  // may read more than there is
  data.summary = summarise(data.rows, {}).value();
  const auto share = [&data](const std::string& variant) {
    for (const SummaryEntry& entry : data.summary.entries) {
      if (entry.level == SummaryLevel::kSuite && entry.variant == variant) return entry.read_share;
    }
    return -1.0;
  };
  EXPECT_DOUBLE_EQ(share("full 100 decode_attn=ab-sparse"), 0.1);
  EXPECT_DOUBLE_EQ(share("full 25% decode_attn=ab-sparse"), 0.25);
  EXPECT_DOUBLE_EQ(share("tova 100 decode_attn=ab-sparse"), 0.04);
  EXPECT_DOUBLE_EQ(share("snapkv 64"), 0.25);
  EXPECT_DOUBLE_EQ(share("full"), 1);
  const std::string text = budget_curves(data, "m.gguf", "suite");
  // The right end of the axis is at 640 - 26.
  EXPECT_EQ(count(text, "<circle cx='614.0'"), 0U) << text;
  EXPECT_NE(text.find("share of the prompt kept, or read where that is less"), std::string::npos);
}

// Tasks of one suite are of different kinds: their scores are not averaged.
TEST(Report, DepthMapsAreOfOneTaskEach) {
  ReportData data = some_data();
  for (std::int64_t sample = 0; sample < 2; ++sample) {
    EvalRow row = row_of("full", "", sample, 0);
    row.task = "suite/b";
    data.rows.push_back(row);
  }
  const std::string text = depth_maps(data, "m.gguf", "suite");
  EXPECT_EQ(count(text, "<figure>"), 4U);
  EXPECT_EQ(count(text, "<h4>suite/a</h4>"), 1U);
  EXPECT_EQ(count(text, "<h4>suite/b</h4>"), 1U);
  EXPECT_EQ(count(text, ">50.0</td>"), 0U);
  EXPECT_EQ(count(text, ">0.0</td>"), 3U);  // snapkv 64 and both of b
}

TEST(Report, DepthMapsHaveAMeanForEachDepthAndLength) {
  const std::string text = depth_maps(some_data(), "m.gguf", "suite");
  EXPECT_EQ(count(text, "<figure>"), 3U);
  EXPECT_EQ(count(text, "<td style="), 6U);
  EXPECT_EQ(count(text, ">0.0</td>"), 1U);  // snapkv 64 at 50 %
}

TEST(Report, AnUnknownFormatListsTheKnownOnes) {
  for (const ReportFormat& format : report_formats()) {
    EXPECT_TRUE(find_report_format(format.name).ok());
    EXPECT_FALSE(format.write(some_data()).empty());
  }
  const auto unknown = find_report_format("pdf");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message.find("html, md, csv, json"), std::string::npos);
}

}  // namespace
}  // namespace restkv
