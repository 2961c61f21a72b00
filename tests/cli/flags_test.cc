#include "cli/flags.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include "cli/llama_flags.h"
#include "cli/options.h"
#include "cli/program.h"

namespace restkv {
namespace {

// The flags that a command shows, each with the line it begins.
std::map<std::string, std::string> shown_flags(const std::string& help) {
  std::map<std::string, std::string> flags;
  std::istringstream lines(help.substr(0, help.find("Of llama.cpp")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  -")) continue;
    std::istringstream words(line);
    for (std::string word; words >> word && word.starts_with('-');) {
      if (word.ends_with(',')) word.pop_back();
      EXPECT_TRUE(flags.emplace(word, line).second) << word << " twice";
    }
  }
  return flags;
}

TEST(Help, OfEveryCommandFitsThePageAndNamesItsFlags) {
  const std::map<std::string, std::vector<std::string>> expected = {
      {"run", {"-m",           "-f",          "-p",         "-sys",        "-n",
               "-c",           "-t",          "-b",         "-s",          "--temp",
               "--top-k",      "--top-p",     "--min-p",    "-ctk",        "-ctv",
               "--ignore-eos", "--no-mmap",   "--json",     "--raw",       "--chat-template",
               "--kv-policy",  "--kv-budget", "--kv-alloc", "--kv-window", "--kv-sink",
               "--kv-protect", "--kv-opt"}},
      {"chat", {"-m", "-f", "-p", "-sys", "-n", "-c", "--kv-policy", "--kv-opt"}},
      {"perplexity", {"-m", "-f", "-c", "--chunks", "--kv-policy", "--kv-budget"}},
      {"demo", {"-m", "-t", "--kv-policy", "--kv-budget"}},
      {"policies", {"--markdown"}},
  };
  for (const auto& [command, flags] : expected) {
    const auto end = testing::run_program({command, "--help"});
    EXPECT_EQ(end.status, 0);
    EXPECT_EQ(end.err, "");
    const auto shown = shown_flags(end.out);
    for (const std::string& flag : flags) EXPECT_TRUE(shown.contains(flag)) << command << flag;
    EXPECT_EQ(shown.contains("--raw"), command == "run") << command;  // a chat needs a template
    std::istringstream lines(end.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  }
}

// Help is what one looks for when a variable is wrong.
TEST(Help, IsThereWhateverTheEnvironmentSays) {
  for (const char* command : {"run", "chat", "bench", "eval"}) {
    const auto end = testing::run_program(
        {command, "--help"},
        {.environment = {"RESTKV_ARG_KV_WINDOW=wide"}, .input = "", .output = ""});
    EXPECT_EQ(end.status, 0) << end.err;
    EXPECT_TRUE(end.out.starts_with("usage: ")) << end.out;
  }
}

TEST(FlagSet, SectionsStandWhereTheyBegin) {
  FlagSet flags("usage: x");
  std::string text;
  flags.begin_section("first");
  flags.add_text({"-a"}, "TEXT", "one", &text);
  flags.add_ignored({"-i"}, "", "it is");
  flags.begin_section("second");
  flags.add_text({"-b"}, "TEXT", "two", &text);
  EXPECT_EQ(flags.help(),
            "usage: x\n\nfirst:\n  -a TEXT                       one\n"
            "\nsecond:\n  -b TEXT                       two\n"
            "\nOf llama.cpp, accepted without effect:\n  -i\n");
}

TEST(FlagSet, AnIgnoredFlagTakesItsValueAndSaysSo) {
  FlagSet flags("usage: x");
  long long n = 0;
  flags.add_integer({"-n"}, "number", 0, 9, [&n](long long v) { n = v; });
  add_llama_flags(flags);
  const std::vector<std::string_view> args = {"-ngl", "-1", "-fa", "on", "--mlock", "-n", "7"};
  ASSERT_TRUE(flags.parse(args).ok());
  EXPECT_EQ(n, 7);
  ASSERT_EQ(flags.notices().size(), 3U);
  EXPECT_EQ(flags.notices()[2], "--mlock has no effect: memory is not locked");
}

TEST(FlagSet, ALaterFlagCountsAndTheEnvironmentComesFirst) {
  FlagSet flags("usage: x");
  long long n = 0;
  flags.add_integer(
      {"-n", "--number"}, "number", 0, 9, [&n](long long v) { n = v; }, "RESTKV_TEST_NUMBER");
  ASSERT_EQ(setenv("RESTKV_TEST_NUMBER", "3", 1), 0);
  ASSERT_TRUE(flags.parse({}).ok());
  EXPECT_EQ(n, 3);
  const std::vector<std::string_view> args = {"-n", "4", "--number=5"};
  ASSERT_TRUE(flags.parse(args).ok());
  EXPECT_EQ(n, 5);
  unsetenv("RESTKV_TEST_NUMBER");
}

TEST(FlagSet, TheVariableOfATypedFlagIsNotLookedAt) {
  FlagSet flags("usage: x");
  std::vector<std::string> list;  // one that goes on
  flags.add({.names = {"-l"},
             .value_name = "TEXT",
             .help = "list",
             .environment = "RESTKV_TEST_LIST",
             .set = [&list](std::string_view text) -> Result<void> {
               if (text == "wrong") return Error{ErrorCode::kInvalidArgument, "wrong"};
               list.emplace_back(text);
               return {};
             }});
  for (const char* value : {"environment", "wrong"}) {
    list.clear();
    ASSERT_EQ(setenv("RESTKV_TEST_LIST", value, 1), 0);
    const std::vector<std::string_view> args = {"-l", "one", "-l", "two"};
    const auto parsed = flags.parse(args);
    unsetenv("RESTKV_TEST_LIST");
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    EXPECT_EQ(list, (std::vector<std::string>{"one", "two"}));
  }
}

// llama.cpp's names, where the flag is llama.cpp's.
TEST(Flags, TheEnvironmentIsThatOfLlamaCpp) {
  ASSERT_EQ(setenv("LLAMA_ARG_REPEAT_PENALTY", "1.5", 1), 0);
  ASSERT_EQ(setenv("LLAMA_ARG_YARN_ORIG_CTX", "32768", 1), 0);
  CommonOptions common;
  GenerationOptions generation;
  FlagSet flags("usage");
  add_model_flags(flags, common);
  add_generation_flags(flags, generation, common);
  const auto parsed = flags.parse({});
  unsetenv("LLAMA_ARG_REPEAT_PENALTY");
  unsetenv("LLAMA_ARG_YARN_ORIG_CTX");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(generation.sampling.repeat_penalty, 1.5F);
  EXPECT_EQ(common.engine.rope.yarn_original_context, 32768);
}

// After what `environment` sets LLAMA_ARG_REPACK to, where it does.
Result<WeightOrder> order_of(const std::vector<std::string_view>& args,
                             const char* environment = nullptr) {
  CommonOptions common;
  FlagSet flags("usage");
  add_model_flags(flags, common);
  if (environment != nullptr) setenv("LLAMA_ARG_REPACK", environment, 1);
  const auto parsed = flags.parse(args);
  unsetenv("LLAMA_ARG_REPACK");
  if (!parsed.ok()) return parsed.error();
  return common.engine.order;
}

TEST(Flags, OfRepackAndNoRepackTheLastCountsAndTheEnvironmentLeast) {
  EXPECT_EQ(order_of({}).value(), WeightOrder::kPack);
  EXPECT_EQ(order_of({"-nr"}).value(), WeightOrder::kKeep);
  EXPECT_EQ(order_of({"--no-repack", "--repack"}).value(), WeightOrder::kPack);
  EXPECT_EQ(order_of({"--repack", "-nr"}).value(), WeightOrder::kKeep);
  EXPECT_EQ(order_of({}, "off").value(), WeightOrder::kKeep);
  EXPECT_EQ(order_of({}, "0").value(), WeightOrder::kKeep);
  EXPECT_EQ(order_of({}, "on").value(), WeightOrder::kPack);
  EXPECT_EQ(order_of({"--repack"}, "false").value(), WeightOrder::kPack);
  const auto wrong = order_of({}, "maybe");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message, "LLAMA_ARG_REPACK: takes on or off, not 'maybe'");
}

// What a command line comes to, in the order of its variants.
std::string variants_of(const CommonOptions& options) {
  auto variants = expand_variants(options);
  if (!variants.ok()) return variants.error().message;
  std::string text;
  for (const KvOptions& one : *variants) {
    text += one.policy;
    for (const auto& [name, value] : one.policy_options) text += ":" + name + "=" + value;
    text += " " + one.budget.text() + " " + one.allocator;
    for (const auto& [name, value] : one.allocator_options) text += ":" + name + "=" + value;
    text += "\n";
  }
  return text;
}

CommonOptions lists(const std::string& policies, const std::string& budgets,
                    const std::string& allocators = "uniform") {
  CommonOptions options;
  options.policies = policies;
  options.budgets = budgets;
  options.allocators = allocators;
  return options;
}

TEST(Variants, AreAllCombinationsAndFullOnce) {
  EXPECT_EQ(variants_of(lists("full,tova", "64,10%", "uniform,ada")),
            "full 64 uniform\ntova 64 uniform\ntova 64 ada\ntova 10% uniform\ntova 10% ada\n");
}

TEST(Variants, OptionsGoToThoseThatHaveThem) {
  CommonOptions options = lists("rest-kv:alpha=0.2:wo=off,rest-kv,snapkv", "64", "ada");
  options.kv_options = {"alpha=0.5", "kernel=7"};
  EXPECT_EQ(variants_of(options),
            "rest-kv:alpha=0.2:wo=off:kernel=7 64 ada:alpha=0.5\n"
            "rest-kv:alpha=0.5:kernel=7 64 ada:alpha=0.5\n"
            "snapkv:kernel=7 64 ada:alpha=0.5\n");
}

TEST(Variants, OneThatIsWrongIsRefused) {
  CommonOptions odd = lists("full,rest-kv", "64");
  odd.kv.window = 33;
  EXPECT_EQ(variants_of(odd), "rest-kv needs an even window, not 33");
  EXPECT_EQ(variants_of(lists("snapkv", "64,35")),
            "a budget of 35 tokens is below the 36 protected rows (4 sinks + 32 window)");
}

TEST(Variants, ThePublicationsProtectLess) {
  for (const auto& [policy, least] : std::map<std::string, int>{
           {"rest-kv", 32}, {"snapkv", 32}, {"streaming-llm", 4}, {"tova", 1}, {"knorm", 1}}) {
    CommonOptions options = lists(policy, std::to_string(least));
    options.kv.protect = Protect::kPaper;
    EXPECT_EQ(variants_of(options), policy + " " + std::to_string(least) + " uniform\n");
    if (least == 1) continue;
    options.budgets = std::to_string(least - 1);
    EXPECT_NE(variants_of(options).find("protected rows"), std::string::npos) << policy;
  }
}

}  // namespace
}  // namespace restkv
