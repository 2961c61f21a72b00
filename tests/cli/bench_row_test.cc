// Rows of `restkv bench`, their numbers worked by hand, in every format.

#include "cli/bench_row.h"

#include <gtest/gtest.h>

#include <memory>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/bench_output.h"
#include "cli/bench_run.h"

namespace restkv {
namespace {

// Two layers, 4 query heads over 2 KV heads of 8; the second layer sees 5 rows.
ModelInfo small_model() {
  ModelInfo model;
  model.path = "folder/it's \"a\".gguf";
  model.n_layer = 2;
  model.n_head = 4;
  model.n_kv_head = 2;
  model.head_dim = 8;
  model.sliding_windows = {0, 5};
  model.weights = {.all = 1000,
                   .projections = 200,
                   .rest = 600,
                   .output = 100,
                   .all_bytes = 4000,
                   .decode_bytes = 3600};
  return model;
}

BenchRow two_samples() {
  BenchRow row;
  row.test.n_prompt = 100;
  row.test.n_depth = 40;
  row.test.n_threads = 2;
  row.test.n_batch = 2048;
  row.test.kv.policy = "snapkv";
  row.test.kv.policy_options = {{"kernel", "5"}};
  row.model = small_model();
  row.model_type = "tiny 0M";
  row.isa = "ref";
  row.kv_budget = "1024";
  row.samples_ns = {1'000'000'000, 2'000'000'000};
  row.ttft_ms = {1000, 2000};
  row.kv_bytes = 3 << 20;
  row.peak_rss_bytes = 5 << 20;
  row.test.kv.window = 48;
  row.test.kv.sinks = 2;
  row.test.kv.protect = Protect::kPaper;
  row.test.kv.group_score = GroupScore::kMax;
  row.test.kv.seed = 77;
  row.engine.order = WeightOrder::kKeep;
  row.engine.hidden_type = KvType::kBf16;
  row.products = "expanded, quantised";
  row.decode_table = "sizes.json";
  row.test.kv.decode.table = std::make_shared<BlockTable>();
  row.build_commit = "abc1234";
  return row;
}

TEST(BenchRow, HasMeanAndDeviationOfTheSamples) {
  EXPECT_EQ(mean_of({}), 0);
  EXPECT_EQ(mean_of({1, 2, 6}), 3);
  EXPECT_EQ(deviation_of({7}), 0);
  EXPECT_DOUBLE_EQ(deviation_of({2, 4, 4, 4, 5, 5, 7, 9}), 2.138089935299395);  // 32 / 7
  EXPECT_EQ(sample_rates(two_samples()), (std::vector<double>{100, 50}));
}

TEST(BenchRow, NamesItsTest) {
  BenchRow row;
  row.test.n_prompt = 512;
  EXPECT_EQ(test_name(row), "pp512");
  row.test.n_gen = 128;
  EXPECT_EQ(test_name(row), "pp512+tg128");
  row.test.n_prompt = 0;
  row.test.n_depth = 4096;
  EXPECT_EQ(test_name(row), "tg128 @ d4096");
}

TEST(BenchWork, OfAPromptIsCountedFromTheModel) {
  // Three tokens after four, which all heads still hold: 2 layers x 2 heads x 4 rows.
  const PhaseWork work = prefill_work(small_model(), {}, 3, 4, {.before = 16, .after = 26});
  const double matrices = 2 * 3 * 200 + 2 * 3 * 300 + 2 * (300 + 100);
  // Layer 0: the queries see 5, 6 and 7 rows; layer 1: only the last, which sees 5.
  const double attention = 4 * 8 * 4 * (5 + 6 + 7 + 5);
  EXPECT_DOUBLE_EQ(work.flops(), matrices + attention);
  EXPECT_DOUBLE_EQ(work.bytes, 3600 + (16 + 26) * (2 * 2 * 8));
  EXPECT_EQ(prefill_work(small_model(), {}, 0, 4, {.before = 16, .after = 16}).flops(), 0);
}

// Two thirds of the open layer's attention are left out.
TEST(BenchWork, OfASparsePromptIsWhatWasComputed) {
  const PhaseWork all = prefill_work(small_model(), {}, 3, 4, {.before = 16, .after = 26});
  const PhaseWork part =
      prefill_work(small_model(), {}, 3, 4, {.before = 16, .after = 26, .density = {1.0 / 3, 1}});
  EXPECT_DOUBLE_EQ(all.flops() - part.flops(), 4 * 8 * 4 * (5 + 6 + 7) * 2.0 / 3);
  EXPECT_EQ(all.bytes, part.bytes);
}

// What was dropped costs nothing: 6 rows left in each head of the open layer.
TEST(BenchWork, OfAPromptAfterACompressedOneSeesWhatIsLeft) {
  const PhaseWork all = prefill_work(small_model(), {}, 1, 100, {.before = 210, .after = 212});
  const PhaseWork few = prefill_work(small_model(), {}, 1, 100, {.before = 22, .after = 24});
  EXPECT_DOUBLE_EQ(all.flops() - few.flops(), 4 * 8 * 4 * (100 - 6));
}

TEST(BenchWork, OfDecodeReadsWeightsAndRowsInEveryStep) {
  // Two steps from 16 rows: 20 and then 24 are seen, a quarter of them in each of the heads.
  const PhaseWork work = decode_work(small_model(), {}, 2, {.before = 16, .after = 24});
  EXPECT_DOUBLE_EQ(work.bytes, 2 * 3600 + (20 + 24) * (2 * 2 * 8));
  EXPECT_DOUBLE_EQ(work.flops(), 2 * 2 * 900 + 4 * 8 * 2 * (20 + 24));
  EXPECT_EQ(decode_work(small_model(), {}, 0, {.before = 16, .after = 16}).bytes, 0);
}

TEST(BenchWork, OfDecodeThatReadsAPartCountsThePartAndWhatItChoosesBy) {
  const PhaseWork work = decode_work(
      small_model(), {}, 2, {.before = 16, .after = 24, .read_share = 0.25, .summary_bytes = 100});
  EXPECT_DOUBLE_EQ(work.bytes, 2 * (3600 + 100) + 0.25 * (20 + 24) * (2 * 2 * 8));
  EXPECT_DOUBLE_EQ(work.flops(), 2 * 2 * 900 + 0.25 * 4 * 8 * 2 * (20 + 24));
}

TEST(LimitShare, IsThatOfTheLimitThatIsMetFirst) {
  BenchRow row = two_samples();  // 1.5 s on average
  EXPECT_FALSE(limit_share(row).has_value());
  row.machine = MachineSpeed{
      .n_threads = 2, .flops = 100, .product_flops = 400, .bytes_per_s = 50, .loops = {}};
  row.work.prefill = {.product_flops = 200, .attention_flops = 25, .bytes = 10};
  EXPECT_EQ(limit_share(row)->limit, "flops");
  EXPECT_DOUBLE_EQ(limit_share(row)->share, 0.5);
  row.work.decode = {.product_flops = 10, .attention_flops = 0, .bytes = 50};
  EXPECT_EQ(limit_share(row)->limit, "bandwidth");
  EXPECT_DOUBLE_EQ(limit_share(row)->share, (0.75 + 1.0) / 1.5);
}

std::string written(BenchFormat format, const BenchColumns& columns = {}) {
  const auto writer = BenchWriter::make(format, columns);
  std::string text = writer->begin();
  for (int i = 0; i < 2; ++i) text += writer->row(two_samples());
  return text + writer->end();
}

TEST(BenchWriter, JsonHasTheFieldsOfLlamaBenchAndOurs) {
  const auto rows = nlohmann::json::parse(written(BenchFormat::kJson));
  ASSERT_EQ(rows.size(), 2U);
  const nlohmann::json& row = rows[1];
  EXPECT_EQ(row["model_filename"], two_samples().model.path);
  EXPECT_EQ(row["n_prompt"], 100);
  EXPECT_EQ(row["n_gen"], 0);
  EXPECT_EQ(row["n_depth"], 40);
  EXPECT_EQ(row["avg_ns"], 1'500'000'000);
  EXPECT_EQ(row["stddev_ns"], 707'106'781);
  EXPECT_DOUBLE_EQ(row["avg_ts"].get<double>(), 75);
  EXPECT_EQ(row["samples_ns"], (std::vector<std::uint64_t>{1'000'000'000, 2'000'000'000}));
  EXPECT_EQ(row["samples_ts"], (std::vector<double>{100, 50}));
  EXPECT_EQ(row["kv_policy"], "snapkv:kernel=5");
  EXPECT_EQ(row["kv_alloc"], "uniform");
  EXPECT_EQ(row["kv_schedule"], "once");
  EXPECT_EQ(row["kv_mode"], "aware");
  EXPECT_EQ(row["approximation"], false);
  EXPECT_EQ(row["kv_granularity"], "kv-head");
  EXPECT_EQ(row["kv_budget"], "1024");
  EXPECT_EQ(row["kv_bytes"], 3 << 20);
  EXPECT_EQ(row["peak_rss_bytes"], 5 << 20);
  EXPECT_EQ(row["ttft_ms"], 1500);
  EXPECT_EQ(row["fill"], "prompt");
  EXPECT_EQ(row["isa"], "ref");
  EXPECT_FALSE(row.contains("limit_share"));
  EXPECT_EQ(row["kv_group"], "max");
  EXPECT_EQ(row["kv_window"], 48);
  EXPECT_EQ(row["kv_sink"], 2);
  EXPECT_EQ(row["kv_protect"], "paper");
  EXPECT_EQ(row["decode_table"], "sizes.json");
  EXPECT_EQ(row["seed"], 77);
  EXPECT_EQ(row["products"], "expanded, quantised");
  EXPECT_EQ(row["repack"], false);
  EXPECT_EQ(row["hidden_type"], "bf16");
  EXPECT_EQ(row["use_mmap"], true);
  EXPECT_EQ(row["build_commit"], "abc1234");
  EXPECT_EQ(row["n_batch"], 2048);
  EXPECT_EQ(row["n_ubatch"], 2048);
}

// A list of ways to decode may have some that take no table; a cache without depth is not filled.
TEST(BenchWriter, RowsNameOnlyWhatWasUsed) {
  BenchRow row = two_samples();
  row.test.kv.decode.table.reset();
  row.test.n_depth = 0;
  const auto writer = BenchWriter::make(BenchFormat::kJsonl, {});
  const nlohmann::json line = nlohmann::json::parse(writer->row(row));
  EXPECT_EQ(line["decode_table"], "");
  EXPECT_EQ(line["fill"], "");
}

// In pieces, a prompt is not what the method makes of it whole; a full cache loses nothing.
TEST(BenchWriter, SaysWhatIsAnApproximation) {
  BenchRow row = two_samples();
  row.test.kv.schedule = Schedule::parse("chunk:600").value();
  const auto text = [&](BenchFormat format) { return BenchWriter::make(format, {})->row(row); };
  EXPECT_EQ(nlohmann::json::parse(text(BenchFormat::kJsonl))["approximation"], true);
  EXPECT_NE(text(BenchFormat::kCsv).find(",approximation,"), std::string::npos);
  EXPECT_NE(text(BenchFormat::kMarkdown).find("| chunk:600 (an approximation) | aware |"),
            std::string::npos);
  row.test.kv.policy = "full";
  row.test.kv.policy_options.clear();
  EXPECT_EQ(nlohmann::json::parse(text(BenchFormat::kJsonl))["approximation"], false);
}

TEST(BenchWriter, JsonWithoutRowsIsAnEmptyArray) {
  const auto writer = BenchWriter::make(BenchFormat::kJson, {});
  EXPECT_EQ(nlohmann::json::parse(writer->begin() + writer->end()), nlohmann::json::array());
}

TEST(BenchWriter, JsonSaysNullWhereThereIsNoFirstToken) {
  BenchRow row = two_samples();
  row.ttft_ms.clear();
  const auto writer = BenchWriter::make(BenchFormat::kJsonl, {});
  EXPECT_TRUE(nlohmann::json::parse(writer->row(row))["ttft_ms"].is_null());
}

TEST(BenchWriter, APeakThatIsNotKnownIsLeftOut) {
  BenchRow row = two_samples();
  row.peak_rss_bytes.reset();
  const auto text = [&](BenchFormat format) { return BenchWriter::make(format, {})->row(row); };
  EXPECT_TRUE(nlohmann::json::parse(text(BenchFormat::kJsonl))["peak_rss_bytes"].is_null());
  EXPECT_TRUE(text(BenchFormat::kMarkdown).ends_with("|      3.0 |          |\n"));
  EXPECT_NE(text(BenchFormat::kSql).find("3145728, 0, 0, NULL, "), std::string::npos);
  EXPECT_NE(text(BenchFormat::kCsv).find("\"3145728\",\"0\",\"0\",\"\","), std::string::npos);
}

bool cannot() { return false; }
bool can() { return true; }

// A system that cannot start the peak anew would give a row the memory of those before it.
TEST(PeakMemory, IsOfOneRowOrNotKnown) {
  PeakMemory anew(/*used=*/true, can);
  PeakMemory once(/*used=*/false, cannot);
  PeakMemory never(/*used=*/true, cannot);
  for (const bool first : {true, false}) {
    for (PeakMemory* peak : {&anew, &once, &never}) peak->begin();
    EXPECT_TRUE(anew.bytes().has_value());
    EXPECT_EQ(once.bytes().has_value(), first);
    EXPECT_FALSE(never.bytes().has_value());
  }
  EXPECT_GT(anew.bytes().value_or(0), 1U << 20U);
}

TEST(BenchWriter, JsonlHasARowInEachLine) {
  const std::string text = written(BenchFormat::kJsonl);
  const std::size_t end = text.find('\n');
  EXPECT_EQ(nlohmann::json::parse(text.substr(0, end)), nlohmann::json::parse(text.substr(end)));
}

TEST(BenchWriter, CsvQuotesEveryValue) {
  const std::string text = written(BenchFormat::kCsv);
  EXPECT_TRUE(text.starts_with("cpu_info,backends,model_filename,model_type,")) << text;
  EXPECT_NE(text.find(R"(,"folder/it's ""a"".gguf",)"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST(BenchWriter, SqlMakesItsTableOnce) {
  const std::string text = written(BenchFormat::kSql);
  EXPECT_TRUE(text.starts_with("CREATE TABLE IF NOT EXISTS restkv_bench (\n  cpu_info TEXT,"));
  EXPECT_EQ(text.find("CREATE", 1), std::string::npos);
  EXPECT_NE(text.find("'folder/it''s \"a\".gguf'"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  avg_ts REAL"), std::string::npos);
  EXPECT_NE(text.find("\n  n_prompt INTEGER"), std::string::npos);
  EXPECT_NE(text.find("\n  use_mmap INTEGER"), std::string::npos);
  EXPECT_NE(text.find(", 'expanded, quantised', 0, 'bf16', 1, "), std::string::npos) << text;
}

TEST(BenchWriter, TheTableShowsColumnsThatTellRowsApart) {
  const std::string plain = written(BenchFormat::kMarkdown);
  EXPECT_NE(plain.find("| pp100 @ d40 "), std::string::npos) << plain;
  EXPECT_NE(plain.find(" 75.00 +- 35.36 |"), std::string::npos) << plain;
  EXPECT_EQ(plain.find("type_k"), std::string::npos);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), '\n'), 4);
  const std::string full = written(BenchFormat::kMarkdown, {.batch = true,
                                                            .types = true,
                                                            .allocator = true,
                                                            .fill = true,
                                                            .limit = true,
                                                            .fields = {"products", "kv_window"},
                                                            .policy_width = 15});
  EXPECT_EQ(plain.find("products"), std::string::npos);
  EXPECT_NE(full.find("|        48 | expanded, quantised  |"), std::string::npos) << full;
  for (const char* name : {"batch", "type_k", "type_v", "allocator", "fill", "of the limit",
                           "products", "kv_window"}) {
    EXPECT_NE(full.find(std::string(" ") + name + " "), std::string::npos) << name << full;
  }
  // All lines of a table are as wide as its head.
  const std::size_t width = full.find('\n');
  for (std::size_t at = 0; at < full.size(); at += width + 1) {
    EXPECT_EQ(full.find('\n', at), at + width) << full;
  }
}

}  // namespace
}  // namespace restkv
