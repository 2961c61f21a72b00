#include "eval/variant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "support/process_folder.h"

namespace restkv {
namespace {

EvalVariant variant_of(const std::string& policy, double budget) {
  EvalVariant variant;
  variant.kv.policy = policy;
  variant.kv.budget.amount = budget;
  return variant;
}

Result<std::vector<EvalVariant>> read(const std::string& text) {
  const std::string path = process_file("variants.json");
  std::ofstream(path) << text;
  return read_variants(path, EvalVariant{});
}

std::string message_of(const std::string& text) {
  const auto variants = read(text);
  return variants.ok() ? "no error" : variants.error().message;
}

TEST(Variant, LabelsNameWhatIsUnusual) {
  EvalVariant variant = variant_of("rest-kv", 512);
  EXPECT_EQ(variant_label(variant), "rest-kv 512");
  variant.kv.policy_options = {{"alpha", "0.2"}};
  variant.kv.allocator = "ada";
  variant.kv.window = 16;
  EXPECT_EQ(variant_label(variant), "rest-kv:alpha=0.2 512 ada window=16");
}

TEST(Variant, TheFullCacheIsOneVariantWhateverItsBudget) {
  const EvalVariant one = variant_of("full", 512);
  EvalVariant other = variant_of("full", 64);
  other.kv.allocator = "pyramid";
  EXPECT_EQ(variant_json(one), variant_json(other));
  EXPECT_EQ(variant_label(one), "full");
  other.kv.type_k = KvType::kQ8_0;
  EXPECT_NE(variant_json(one), variant_json(other));
}

// A pattern reads the queries of a large window densely, so what the full cache holds differs.
TEST(Variant, AWindowIsPartOfTheFullCacheUnderAPattern) {
  const auto key = [](const char* prefill, int window) {
    EvalVariant variant = variant_of("full", 64);
    variant.prefill = prefill;
    variant.kv.window = window;
    return variant_json(variant);
  };
  EXPECT_EQ(key("dense", 32), key("dense", 512));
  EXPECT_EQ(key("xattention", 32), key("xattention", 64));
  EXPECT_NE(key("xattention", 32), key("xattention", 512));
}

TEST(Variant, SaysWhoseRowsAreKept) {
  const auto variants = read(R"([
    {"policy": "rest-kv", "budget": 64},
    {"policy": "rest-kv", "budget": 64, "granularity": "query-head"},
    {"policy": "rest-kv", "budget": 64, "group": "max"}])");
  ASSERT_TRUE(variants.ok()) << variants.error().message;
  EXPECT_EQ(options_of((*variants)[0]).granularity, Granularity::kKvHead);
  EXPECT_EQ(options_of((*variants)[1]).granularity, Granularity::kQueryHead);
  EXPECT_EQ(options_of((*variants)[2]).group_score, GroupScore::kMax);
  EXPECT_EQ(variant_label((*variants)[1]), "rest-kv 64 granularity=query-head");
  EXPECT_EQ(variant_label((*variants)[2]), "rest-kv 64 group=max");
  EXPECT_FALSE(variant_json((*variants)[0]).contains("group"));  // as before there was a choice
  EXPECT_NE(message_of(R"([{"group": "sum"}])").find("'mean' or 'max'"), std::string::npos);
  EXPECT_NE(message_of(R"([{"granularity": "query-head", "group": "max"}])")
                .find("does not go with the granularity query-head"),
            std::string::npos);
  EXPECT_EQ(message_of(R"([{"policy": "full"}, {"policy": "full", "granularity": "query-head"}])")
                .find("no error"),
            std::string::npos);
  EvalVariant full = variant_of("full", 64);
  full.granularity = "query-head";
  EXPECT_EQ(variant_label(full), "full");
}

TEST(Variant, EveryDimensionHasItsDefaultAndRefusesTheRest) {
  const EvalVariant usual;
  for (const VariantDimension& dimension : variant_dimensions()) {
    EXPECT_EQ(usual.*dimension.value, dimension.known.front()) << dimension.field;
    EvalVariant variant;
    for (const std::string_view value : dimension.known) {
      EXPECT_TRUE(set_dimension(variant, dimension, value).ok());
      EXPECT_EQ(variant.*dimension.value, value);
    }
    const auto refused = set_dimension(variant, dimension, "sideways");
    ASSERT_FALSE(refused.ok());
    // A table is a file, and there is none of that name.
    const std::string_view named =
        dimension.field == "decode_table" ? "sideways" : dimension.known.front();
    EXPECT_NE(refused.error().message.find(named), std::string::npos) << refused.error().message;
  }
}

TEST(Variant, AFileIsAListWithDefaults) {
  const auto variants = read(R"([
    {"policy": "full"},
    {"policy": "rest-kv:alpha=0.2", "budget": 128, "allocator": "ada", "window": 16,
     "sinks": 2, "protect": "paper", "type_k": "q8_0", "seed": 7, "mode": "aware"},
    {"policy": "snapkv", "budget": "10%"}])");
  ASSERT_TRUE(variants.ok()) << variants.error().message;
  ASSERT_EQ(variants->size(), 3U);
  const KvOptions& kv = (*variants)[1].kv;
  EXPECT_EQ(policy_spec(kv), "rest-kv:alpha=0.2");
  EXPECT_EQ(kv.budget.text(), "128");
  EXPECT_EQ(kv.allocator, "ada");
  EXPECT_EQ(kv.window, 16);
  EXPECT_EQ(kv.sinks, 2);
  EXPECT_EQ(kv.protect, Protect::kPaper);
  EXPECT_EQ(kv.type_k, KvType::kQ8_0);
  EXPECT_EQ(kv.type_v, KvType::kF16);
  EXPECT_EQ(kv.seed, 7U);
  EXPECT_EQ((*variants)[2].kv.budget.text(), "10%");
}

// What variant_json() writes is what a file may hold.
TEST(Variant, ReadsWhatItWrites) {
  EvalVariant variant = variant_of("snapkv", 96);
  variant.kv.allocator = "pyramid";
  variant.kv.sinks = 1;
  const auto again = read("[" + variant_json(variant).dump() + "]");
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(variant_json(again->front()), variant_json(variant));
}

TEST(Variant, ReadingAPartOfTheFullCacheIsABudget) {
  EvalVariant variant = variant_of("full", 128);
  variant.decode_attention = "ab-sparse";
  EXPECT_EQ(variant_label(variant), "full 4% decode_attn=ab-sparse");
  variant.decode_budget = "256";
  EXPECT_EQ(variant_label(variant), "full 256 decode_attn=ab-sparse");
  EXPECT_EQ(variant_json(variant)["budget"], "256");
  const KvOptions options = options_for_suite(variant, "ruler");
  EXPECT_EQ(options.decode.method, "ab-sparse");
  ASSERT_TRUE(options.decode.budget.has_value());
  EXPECT_EQ(options.decode.budget->text(), "256");
  variant.kv.policy = "snapkv";
  EXPECT_EQ(variant_label(variant), "snapkv 128 decode_attn=ab-sparse decode_budget=256");
}

TEST(Variant, SchedulesAndModesAreOptionsOfTheCache) {
  EvalVariant variant = variant_of("snapkv", 128);
  for (const char* schedule : {"once", "cap", "every:16", "chunk:512"}) {
    const auto& dimension = variant_dimensions().front();
    ASSERT_EQ(dimension.field, "schedule");
    ASSERT_TRUE(set_dimension(variant, dimension, schedule).ok()) << schedule;
    EXPECT_EQ(options_for_suite(variant, "ruler").schedule.text(), schedule);
    EXPECT_EQ(variant_json(variant)["schedule"], schedule);
    ASSERT_FALSE(set_dimension(variant, dimension, "every:0").ok());
  }
  EXPECT_EQ(variant_label(variant), "snapkv 128 schedule=chunk:512");
  variant.mode = "agnostic";
  EXPECT_EQ(variant_label(variant), "snapkv 128 schedule=chunk:512 mode=agnostic");
  EXPECT_EQ(read_first(variant), ReadFirst::kText);
  variant.mode = "before-tail";
  EXPECT_EQ(read_first(variant), ReadFirst::kQuestion);
  variant.mode = "aware";
  EXPECT_EQ(read_first(variant), ReadFirst::kAll);
  variant.mode = "agnostic";
  // Nothing goes from a full cache: neither when nor what has been read matters.
  variant.kv.policy = "full";
  EXPECT_EQ(variant_json(variant), variant_json(variant_of("full", 128)));
  EXPECT_EQ(read_first(variant), ReadFirst::kAll);
  EXPECT_EQ(options_for_suite(variant, "ruler").schedule.text(), "once");
  for (const VariantDimension& dimension : variant_dimensions()) {
    const bool dropping = dimension.field == "schedule" || dimension.field == "mode" ||
                          dimension.field == "granularity";
    const bool reading = dimension.field == "decode_budget" || dimension.field == "decode_table";
    EXPECT_EQ(dimension_matters(variant, dimension), !dropping && !reading) << dimension.field;
    EvalVariant other = variant_of("snapkv", 128);
    EXPECT_EQ(dimension_matters(other, dimension), !reading) << dimension.field;
    other.decode_attention = "ab-sparse:block=16";
    EXPECT_TRUE(dimension_matters(other, dimension)) << dimension.field;
    other.decode_attention = "quest";
    EXPECT_EQ(dimension_matters(other, dimension), dimension.field != "decode_table");
  }
}

TEST(Variant, APatternOfPrefillMayHaveOptions) {
  const auto variants = read(R"([{"policy": "full", "prefill": "xattention:stride=8"},
                                 {"policy": "full", "prefill": "xattention"},
                                 {"policy": "full", "prefill": "dense"}])");
  ASSERT_TRUE(variants.ok()) << variants.error().message;
  EXPECT_EQ(variant_label(variants->front()), "full prefill=xattention:stride=8");
  const PrefillAttention attention = prefill_attention_of(variants->front());
  EXPECT_EQ(attention.pattern, "xattention");
  EXPECT_EQ(attention.options, (std::vector<ParamValues::Assignment>{{"stride", "8"}}));
  EXPECT_EQ(prefill_attention_of(variants->back()).pattern, "dense");
}

// Each name means what the engine means by it.
TEST(Variant, PrefillsAreThoseOfTheEngine) {
  const auto dimensions = variant_dimensions();
  const auto prefill = std::ranges::find(dimensions, "prefill", &VariantDimension::field);
  ASSERT_NE(prefill, dimensions.end());
  std::string listed = "dense";  // as `full` is called there
  for (const std::string_view name : prefill->known.subspan(1)) {
    EXPECT_TRUE(check_prefill_attention({.pattern = std::string(name), .options = {}}).ok());
    listed += ", " + std::string(name);
  }
  const auto unknown = check_prefill_attention({.pattern = "sideways", .options = {}});
  EXPECT_NE(unknown.error().message.find("(known: " + listed + ")"), std::string::npos);
}

// Each name means what the engine means by it, in the same order but for `dense` in front.
TEST(Variant, DecodeAttentionsAreThoseOfTheEngine) {
  const auto dimensions = variant_dimensions();
  const auto attention = std::ranges::find(dimensions, "decode_attn", &VariantDimension::field);
  ASSERT_NE(attention, dimensions.end());
  std::vector<std::string_view> known = {"dense"};
  for (const DecodeMethodInfo* method : all_decode_methods()) {
    if (method->name != "dense") known.push_back(method->name);
  }
  EXPECT_TRUE(std::ranges::equal(attention->known, known));
}

// A seed tells apart only what draws.
TEST(Variant, SeedsCountWhereNumbersAreDrawn) {
  const auto variants = read(R"([{"policy": "random", "seed": 1}, {"policy": "random", "seed": 2},
                                 {"policy": "chunkkv:score=random", "seed": 1},
                                 {"policy": "chunkkv:score=random", "seed": 2}])");
  ASSERT_TRUE(variants.ok()) << variants.error().message;
  std::set<std::string> labels;
  for (const EvalVariant& variant : *variants) labels.insert(variant_label(variant));
  EXPECT_EQ(labels.size(), 4U);
  EvalVariant usual = variants->front();
  usual.kv.seed = kUsualSeed;
  EXPECT_EQ(variant_label(usual).find("seed"), std::string::npos) << variant_label(usual);
  EXPECT_NE(message_of(R"([{"policy": "snapkv", "seed": 1}, {"policy": "snapkv", "seed": 2}])")
                .find("same variant"),
            std::string::npos);
}

// A policy that draws with the seed of the samples is the same variant under each of them.
TEST(Variant, TheSeedOfTheSamplesIsNoPartOfTheVariant) {
  EvalVariant usual = variant_of("random", 64);
  usual.kv.seed = usual.sample_seed = 42;
  EvalVariant other = variant_of("random", 64);
  other.kv.seed = other.sample_seed = 43;
  EXPECT_EQ(variant_label(usual), "random 64");
  EXPECT_EQ(variant_label(other), "random 64");
  EXPECT_EQ(variant_json(usual)["seed"], 42);  // as it always was
  EXPECT_TRUE(variant_json(other)["seed"].is_null());
  // What is asked for by itself shows, the usual seed too.
  for (const std::uint64_t seed : {7, 42}) {
    EvalVariant own = other;
    own.kv.seed = seed;
    EXPECT_EQ(variant_label(own), "random 64 seed=" + std::to_string(seed));
    EXPECT_EQ(variant_json(own)["seed"], seed);
  }
}

TEST(Variant, ADecodeAttentionMayHaveOptionsAndATable) {
  const std::string path = process_file("sizes.json");
  const auto write_table = [&path](const char* sizes) {
    std::ofstream(path) << R"({"format": "restkv block sizes 1", "fingerprint": "ab", )"
                        << R"("block_rows": )" << sizes << "}";
  };
  write_table("[[16], [64]]");
  const std::string list = R"([{"policy": "full", "decode_attn": "ab-sparse:estimator=arkvale",
                                "decode_budget": "25%", "decode_table": ")" +
                           path + R"("}, {"policy": "full", "decode_attn": "quest:block=64"}])";
  const auto variants = read(list);
  ASSERT_TRUE(variants.ok()) << variants.error().message;
  const KvOptions options = options_of(variants->front());
  EXPECT_EQ(options.decode.method, "ab-sparse");
  EXPECT_EQ(options.decode.method_options,
            (std::vector<ParamValues::Assignment>{{"estimator", "arkvale"}}));
  ASSERT_NE(options.decode.table, nullptr);
  EXPECT_EQ(options.decode.table->block_rows, (std::vector<int>{16, 64}));
  const std::string text = variant_json(variants->front()).dump();
  EXPECT_NE(text.find(R"("decode_table":")"), std::string::npos) << text;
  const std::string label = variant_label(variants->front());
  EXPECT_NE(label.find(" decode_table="), std::string::npos) << label;
  EXPECT_EQ(label.find("sizes.json"), std::string::npos) << label;
  // Variants without a table keep the text that they always had.
  EXPECT_FALSE(variant_json(variants->back()).contains("decode_table"));
  EXPECT_EQ(variant_label(variants->back()), "full 1024 decode_attn=quest:block=64");
  // The sizes make the variant, not the file's name; the same file with others is another one.
  std::filesystem::copy_file(path, process_file("same_sizes.json"));
  std::string renamed = list;
  renamed.replace(renamed.find("sizes.json"), 10, "same_sizes.json");
  const auto same = read(renamed);
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ(variant_json(same->front()).dump(), text);
  write_table("[[16], [32]]");
  const auto again = read(list);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_NE(variant_json(again->front()).dump(), text);
  EXPECT_EQ(variant_json(again->back()), variant_json(variants->back()));
  // Boxes of another estimator, and a size beside the table.
  write_table(R"([[16], [32]], "estimator": "quest")");
  EXPECT_NE(message_of(list).find("boxes of quest, not of arkvale"), std::string::npos)
      << message_of(list);
  write_table(R"([[16], [32]], "estimator": "arkvale")");
  EXPECT_TRUE(read(list).ok());
  std::string sized = list;
  sized.replace(sized.find("=arkvale"), 8, "=arkvale:block=32");
  EXPECT_NE(message_of(sized).find("block=32"), std::string::npos) << message_of(sized);
}

TEST(Variant, BrokenFilesNameElementAndField) {
  const auto has = [](const std::string& text, std::initializer_list<const char*> parts) {
    const std::string message = message_of(text);
    for (const char* part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << text << " gave: " << message;
    }
  };
  has("[]", {"holds no variant"});
  has("{", {"variants.json"});
  has("{}", {"variants.json"});
  has("[3]", {"is no object"});
  has(R"([{"policy": "rest-kw"}])", {"rest-kw", "rest-kv"});
  has(R"([{"polizy": "full"}])", {"polizy", "policy, budget"});
  has(R"([{"policy": 3.5}])", {"policy"});
  has(R"([{"window": -1}])", {"window"});
  has(R"([{"mode": "agnostic-ish"}])", {"mode", "aware"});
  has(R"([{"schedule": "each:3"}])", {"schedule", "cap", "every:TOKENS"});
  has(R"([{"policy": "expected-attention", "schedule": "cap"}])", {"expected-attention", "cap"});
  has(R"([{"policy": "tova", "schedule": "every:4", "decode_attn": "quest"}])", {"tova", "quest"});
  has(R"([{"decode_attn": "quest:block=20"}])", {"variants.json[0]", "block", "16|32|64|128"});
  has(R"([{"decode_attn": "quests"}])", {"decode_attn", "quests", "dense, ab-sparse"});
  has(R"([{"decode_budget": 64}])", {"variants.json[0]", "dense", "no budget"});
  has(R"([{"decode_attn": "quest", "decode_budget": "1x"}])", {"decode_budget", "1024 or 10%"});
  has(R"([{"decode_attn": "ab-sparse", "decode_table": "/nowhere.json"}])", {"/nowhere.json"});
  has(R"([{"policy": "snapkv", "schedule": "chunk:512", "prefill": "xattention"}])",
      {"variants.json[0]", "chunk:512", "xattention"});
  has(R"([{"prefill": "xattention:stride=3"}])", {"stride", "4|8|16"});
  has(R"([{"prefill": "dense:stride=8"}])", {"prefill", "dense:stride=8", "xattention"});
  has(R"([{"prefill": "sideways:stride=8"}])", {"prefill", "dense, tri-shape"});
  has(R"([{"type_k": "f7"}])", {"type_k", "q8_0"});
  has(R"([{"protect": "all"}])", {"protect"});
  has(R"([{"budget": "0"}])", {"budget"});
  has(R"([{"policy": "full"}, {"policy": "full", "budget": 5}])", {"same variant"});
}

TEST(Variant, RulerSmoothsOver21TokensUnlessTold) {
  const auto kernel = [](const KvOptions& options) {
    for (const auto& [name, value] : options.policy_options) {
      if (name == "kernel") return value;
    }
    return std::string("none");
  };
  EvalVariant variant = variant_of("rest-kv", 128);
  EXPECT_EQ(kernel(options_for_suite(variant, "ruler")), "21");
  EXPECT_EQ(kernel(options_for_suite(variant, "infinitebench")), "21");
  EXPECT_EQ(kernel(options_for_suite(variant, "longbench")), "none");
  EXPECT_EQ(kernel(options_for_suite(variant_of("snapkv", 128), "ruler")), "none");
  variant.kv.policy_options = {{"kernel", "7"}};
  EXPECT_EQ(kernel(options_for_suite(variant, "ruler")), "7");
}

}  // namespace
}  // namespace restkv
