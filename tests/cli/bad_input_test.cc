// Wrong command lines and wrong files, given to the built program: the exit status and what it
// says.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/program.h"
#include "support/tiny_llama.h"

namespace restkv::testing {
namespace {

using Words = std::vector<std::string>;

struct BadInput {
  const char* name;
  Words args;         // "@x" is the file x of the scratch folder
  const char* error;  // part of what it says
  Words environment = {};
};
std::ostream& operator<<(std::ostream& out, const BadInput& one) { return out << one.name; }

Words with_paths(const Words& args) {
  Words words;
  for (const std::string& arg : args) {
    words.push_back(arg.starts_with('@') ? scratch_folder() + "/" + arg.substr(1) : arg);
  }
  return words;
}

// Every message is one line, "restkv: ...".
void expect_one_complaint(const ProgramEnd& end, const std::string& error) {
  EXPECT_TRUE(end.err.starts_with("restkv: ")) << end.err;
  EXPECT_NE(end.err.find(error), std::string::npos) << end.err;
  EXPECT_EQ(std::ranges::count(end.err, '\n'), 1) << end.err;
  EXPECT_EQ(end.out, "");
}

// Refused before the model is looked at: that there is none is not what they complain about.
const std::vector<BadInput>& usage_cases() {
  static const std::vector<BadInput> table = {
      {"Command", {"rum"}, "unknown command 'rum'; did you mean run?"},
      {"CommandOfAnotherKind", {"frobnicate"}, "unknown command 'frobnicate'; restkv --help"},
      {"FlagAsCommand", {"-m", "x"}, "unknown command '-m'"},
      {"Flag", {"run", "--kv-polcy", "full"}, "'--kv-polcy'; did you mean --kv-policy?"},
      {"FlagOfAnotherKind",
       {"run", "--frobnicate"},
       "unknown argument '--frobnicate'; --help lists"},
      {"Positional", {"run", "document.txt"}, "unknown argument 'document.txt'"},
      {"ChatFlag", {"chat", "--jsno"}, "unknown argument '--jsno'"},
      {"PoliciesFlag", {"policies", "--markdwn"}, "did you mean --markdown?"},
      {"MissingValue", {"run", "-p"}, "-p needs a value"},
      {"MissingLongValue", {"run", "-p", "a", "--kv-budget"}, "--kv-budget needs a value"},
      {"SwitchWithValue", {"run", "-p", "a", "--raw=yes"}, "--raw takes no value"},
      {"EmptyModel",
       {"run", "-p", "a", "-m", ""},
       "--model needs the name of a file or of a model"},
      {"ThreadsNoNumber",
       {"run", "-p", "a", "-t", "many"},
       "--threads takes a whole number from -1 to 1024, not 'many'"},
      {"ThreadsTooMany", {"run", "-p", "a", "-t", "4096"}, "from -1 to 1024, not '4096'"},
      {"ThreadsFraction", {"run", "-p", "a", "-t", "1.5"}, "not '1.5'"},
      {"ThreadsEmpty", {"run", "-p", "a", "-t", ""}, "not ''"},
      {"ContextNegative", {"run", "-p", "a", "-c", "-1"}, "from 0 to 2147483647, not '-1'"},
      {"ContextHuge", {"run", "-p", "a", "-c", "99999999999999999999"}, "--ctx-size takes"},
      {"BatchOfNothing", {"run", "-p", "a", "-b", "0"}, "--batch-size takes a whole number from 1"},
      {"PredictHex", {"run", "-p", "a", "-n", "0x10"}, "--n-predict takes"},
      {"TemperatureNegative",
       {"run", "-p", "a", "--temp", "-0.1"},
       "--temperature takes a number from 0 to 1e+06, not '-0.1'"},
      {"TemperatureNoNumber", {"run", "-p", "a", "--temp", "nan"}, "not 'nan'"},
      {"TopPTooLarge", {"run", "-p", "a", "--top-p", "1.01"}, "--top-p takes a number from 0 to 1"},
      {"SeedTooLarge", {"run", "-p", "a", "--seed", "4294967296"}, "--seed takes"},
      {"WindowOfNothing", {"run", "-p", "a", "--kv-window", "0"}, "--kv-window takes"},
      {"SinksNegative", {"run", "-p", "a", "--kv-sink", "-1"}, "--kv-sink takes"},
      {"RopeScaleOfNothing", {"run", "-p", "a", "--rope-scale", "0"}, "--rope-scale takes"},
      {"Policy", {"run", "-p", "a", "--kv-policy", "nope"}, "unknown policy 'nope' (known: "},
      {"SecondPolicy", {"run", "-p", "a", "--kv-policy", "full,nope"}, "unknown policy 'nope'"},
      {"Prefill", {"run", "-p", "a", "--prefill", "nope"}, "unknown prefill 'nope' (known: dense"},
      {"PrefillOption", {"run", "-p", "a", "--prefill", "xattention:block=100"}, "block"},
      {"NoPolicy", {"run", "-p", "a", "--kv-policy", ""}, "'' has no name"},
      {"PolicyOption",
       {"run", "-p", "a", "--kv-policy", "full:alpha=1"},
       "full has no option 'alpha' (it has none)"},
      {"PolicyOptionWithoutValue",
       {"run", "-p", "a", "--kv-policy", "full:alpha"},
       "'alpha' in 'full:alpha' is not option=value"},
      {"PolicyEndsInColon", {"run", "-p", "a", "--kv-policy", "full:"}, "'full:' ends in ':'"},
      {"Allocator",
       {"run", "-p", "a", "--kv-policy", "full", "--kv-alloc", "nope"},
       "unknown allocator 'nope' (known: "},
      {"CacheType",
       {"run", "-p", "a", "-ctk", "q9_9"},
       "unknown cache type 'q9_9' (known: f32, f16, bf16, q8_0, q4_0)"},
      {"Protection",
       {"run", "-p", "a", "--kv-protect", "all"},
       "unknown protection 'all' (known: default, paper)"},
      {"Template", {"run", "-p", "a", "--chat-template", "nope"}, "unknown chat template 'nope'"},
      {"Kernels", {"run", "-p", "a", "--kernels", "nope"}, "no kernels 'nope' on this machine"},
      {"HiddenType",
       {"run", "-p", "a", "--hidden-type", "f16"},
       "unknown type of hidden states 'f16' (known: f32, bf16)"},
      {"Products",
       {"run", "-p", "a", "--products", "nope"},
       "unknown products 'nope' (known: auto, quantised, f32)"},
      {"RopeScaling",
       {"run", "-p", "a", "--rope-scaling", "nope"},
       "unknown RoPE scaling 'nope' (known: none, linear, yarn)"},
      {"RopeScaleWithoutScaling",
       {"run", "-p", "a", "--kv-policy", "full", "--rope-scaling", "none", "--rope-scale", "2"},
       "--rope-scaling none leaves nothing for --rope-scale"},
      {"RopeScaleBeforeNone",
       {"run", "-p", "a", "--kv-policy", "full", "--rope-scale", "2", "--rope-scaling", "none"},
       "--rope-scaling none leaves nothing for --rope-scale"},
      {"Option",
       {"run", "-p", "a", "--kv-policy", "full", "--kv-opt", "alpha=1"},
       "--kv-opt alpha: none of the chosen policies and allocators (full; uniform) has this "
       "option"},
      {"OptionWithoutValue",
       {"run", "-p", "a", "--kv-policy", "full", "--kv-opt", "alpha"},
       "--kv-opt takes name=value, not 'alpha'"},
      {"BudgetOfNothing",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "0"},
       "a budget is a number of tokens or a percentage like 10%, not '0'"},
      {"BudgetNegative",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "-5"},
       "not '-5'"},
      {"BudgetFraction",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "1.5"},
       "not '1.5'"},
      {"BudgetMoreThanAll",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "200%"},
       "a budget of 200% is more than the prompt"},
      {"BudgetNoNumber",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "abc"},
       "not 'abc'"},
      {"BudgetEmpty",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", ""},
       "not ''"},
      {"BudgetListEndsInComma",
       {"run", "-p", "a", "--json", "--kv-policy", "streaming-llm", "--kv-budget", "64,"},
       "not ''"},
      {"BudgetBelowProtection",
       {"run", "-p", "a", "--kv-policy", "streaming-llm", "--kv-budget", "20"},
       "a budget of 20 tokens is below the 36 protected rows (4 sinks + 32 window)"},
      {"SeveralPolicies",
       {"run", "-p", "a", "--kv-policy", "full,streaming-llm"},
       "several policies, budgets or allocators need --json"},
      {"KeptWithoutJson",
       {"run", "-p", "a", "--kv-policy", "full", "--kv-kept"},
       "--kv-kept needs --json"},
      {"RawWithSystem",
       {"run", "-p", "a", "--kv-policy", "full", "--raw", "-sys", "b"},
       "--raw has no place for -sys"},
      {"RawWithTemplate",
       {"run", "-p", "a", "--kv-policy", "full", "--raw", "--chat-template", "chatml"},
       "--raw and --chat-template exclude each other"},
      {"RawAfterTemplate",
       {"run", "-p", "a", "--kv-policy", "full", "--chat-template", "chatml", "--raw"},
       "--raw and --chat-template exclude each other"},
      {"NothingToRead", {"run", "--kv-policy", "full"}, "nothing to read: give -p, or -f, or both"},
      {"ChatRaw", {"chat", "--kv-policy", "full", "--raw"}, "chat needs a template"},
      {"ChatSeveralPolicies",
       {"chat", "--kv-policy", "full,streaming-llm"},
       "chat takes one policy"},
      {"PerplexityWithoutText", {"perplexity"}, "give the text with -f or with -p"},
      {"PerplexityOfTwoTexts",
       {"perplexity", "-p", "a", "-f", "@text.txt"},
       "give the text with -f or with -p"},
      {"PerplexityOfNoChunks",
       {"perplexity", "-p", "a", "--chunks", "0"},
       "--chunks 0 leaves nothing to measure"},
      {"PerplexityContext", {"perplexity", "-p", "a", "-c", "4"}, "a context of at least 8 tokens"},
      {"PerplexitySeveralPolicies",
       {"perplexity", "-p", "a", "--kv-policy", "full,streaming-llm"},
       "perplexity takes one policy"},
      {"PredictTooSmall",
       {"run", "-p", "a", "-n", "-3"},
       "--n-predict takes a whole number from -2"},
      {"FlagOfLlamaCpp",
       {"run", "-p", "a", "-hf", "someone/something"},
       "--hf-repo of llama.cpp is not here: -m takes any GGUF file"},
      {"LongFlagOfLlamaCpp",
       {"chat", "--keep=5"},
       "--keep of llama.cpp is not here: --kv-sink says how many first tokens are never dropped"},
      {"IgnoredFlagWithoutValue",
       {"run", "-fa", "-p", "a"},
       "--flash-attn needs a value, not '-p'"},
      {"DemoInPieces",
       {"demo", "--kv-schedule", "chunk:200"},
       "the demo reads its prompt once for all methods: --kv-schedule chunk:200 reads it in "
       "pieces, for each anew"},
      {"DemoFlag", {"demo", "-p", "a"}, "unknown argument '-p'"},
      {"VariableOfTheEnvironment",
       {"run", "-p", "a"},
       "RESTKV_ARG_KV_WINDOW: --kv-window takes a whole number from 1 to 4096, not 'wide'",
       {"RESTKV_ARG_KV_WINDOW=wide"}},
      {"Schedule",
       {"run", "-p", "a", "--kv-schedule", "each:3"},
       "unknown schedule 'each:3' (known: once, every:TOKENS, cap, chunk:TOKENS"},
      {"ScheduleOfShortPieces",
       {"run", "-p", "a", "--kv-schedule", "chunk:16"},
       "pieces of 16 tokens are shorter than the window of 32"},
      {"ScheduleOfPiecesWithAPattern",
       {"run", "-p", "a", "--kv-schedule", "chunk:600", "--prefill", "tri-shape"},
       "the schedule chunk:600 does not go with tri-shape prefill"},
      {"ScheduleWithoutStatistics",
       {"run", "-p", "a", "--kv-policy", "expected-attention", "--kv-schedule", "cap"},
       "the schedule cap does not go with expected-attention: it scores by statistics of all "},
      {"ScheduleWithoutStatisticsWithin",
       {"chat", "--kv-policy", "chunkkv:score=expected-attention", "--kv-schedule", "every:9"},
       "the schedule every:9 does not go with chunkkv: it scores by statistics of all queries"},
      {"ScheduleOfReadAttention",
       {"run", "-p", "a", "--kv-policy", "h2o", "--kv-schedule", "cap", "--decode-attn", "quest"},
       "the schedule cap of h2o does not go with quest decode attention"},
      {"FedPerplexityInChunks",
       {"perplexity", "-p", "a", "--kv-schedule", "cap", "--chunks", "2"},
       "--kv-schedule cap feeds a text token by token: there are no chunks for --chunks"},
      {"FedPerplexityWithAPattern",
       {"perplexity", "-p", "a", "--kv-schedule", "every:9", "--prefill", "tri-shape"},
       "--kv-schedule every:9 feeds a text token by token: nothing is prefilled that --prefill "
       "tri-shape could change"},
      {"FedPerplexityOfOneToken",
       {"perplexity", "-p", "a", "--kv-schedule", "cap", "-c", "1"},
       "a perplexity needs at least 2 tokens"},
      {"FedPerplexityOfNoStretch",
       {"perplexity", "-p", "a", "--kv-schedule", "cap", "--stretch", "9-3"},
       "--stretch takes a number of tokens, or stretches such as 5000-15000,40000-50000, not "
       "'9-3'"},
      {"StretchOfAPrompt",
       {"perplexity", "-p", "a", "--stretch", "100"},
       "--stretch needs a text that is fed token by token: --kv-schedule cap or every:N"},
      {"Granularity",
       {"run", "-p", "a", "--kv-granularity", "head"},
       "unknown granularity 'head' (known: kv-head, query-head)"},
      {"GranularityOfRenumberedPositions",
       {"run", "-p", "a", "--kv-granularity", "query-head", "--kv-policy",
        "streaming-llm:positions=renumbered"},
       "positions=renumbered does not go with the granularity query-head"},
      {"GroupOfAScoreWithoutGroups",
       {"run", "-p", "a", "--kv-group", "max", "--kv-policy", "knorm"},
       "the largest score of a group does not go with knorm"},
      {"Mode",
       {"run", "-p", "a", "--kv-mode", "blind"},
       "unknown mode 'blind' (known: aware, agnostic)"},
      {"AgnosticWithoutText",
       {"run", "-p", "a", "--kv-mode", "agnostic"},
       "--kv-mode agnostic reads the text of -f before the question of -p: give both"},
      {"AgnosticWithoutQuestion",
       {"run", "-f", "@text.txt", "-p", "", "--kv-mode", "agnostic"},
       "--kv-mode agnostic reads the text of -f before the question of -p: give both"},
      {"SeveralQuestions",
       {"run", "-f", "@text.txt", "-p", "a", "-p", "b"},
       "several -p need --kv-mode agnostic"},
      {"CatalogueName", {"pull", "no-such-model"}, "unknown model 'no-such-model'; known: qwen2.5"},
  };
  return table;
}

// What only the files, or the model, can tell.
const std::vector<BadInput>& file_cases() {
  static const std::vector<BadInput> table = {
      {"TextMissing", {"run", "-f", "@missing.txt"}, "/missing.txt: No such file or directory"},
      {"TextIsAFolder", {"run", "-f", "@folder"}, "/folder: is a folder, not a file"},
      {"TextIsEmpty",
       {"run", "-f", "@empty.txt", "-p", "a"},
       "/empty.txt: there is nothing in the file"},
      {"TextIsLineEnds", {"run", "-f", "@ends.txt"}, "/ends.txt: there is nothing in the file"},
      {"ChatTextMissing",
       {"chat", "-f", "@missing.txt"},
       "/missing.txt: No such file or directory"},
      {"PerplexityTextIsAFolder", {"perplexity", "-f", "@folder"}, "is a folder, not a file"},
      {"ModelMissing",
       {"run", "-p", "a", "-m", "@missing.gguf"},
       "/missing.gguf' is neither a file nor a known name (qwen2.5"},
      {"ModelIsAFolder", {"run", "-p", "a", "-m", "@folder"}, "/folder: not a regular file"},
      {"ModelIsText",
       {"run", "-p", "a", "-m", "@text.txt"},
       "/text.txt: not a GGUF file: it does not begin with 'GGUF'"},
      {"ModelIsEmpty", {"run", "-p", "a", "-m", "@empty.gguf"}, "/empty.gguf: the file is empty"},
      {"ModelIsADevice", {"run", "-p", "a", "-m", "/dev/null"}, "/dev/null: not a regular file"},
      {"ModelWithoutTemplate",
       {"run", "-p", "a", "-m", "@tiny.gguf"},
       "the model's file has no chat template; choose one with --chat-template: "},
      {"ChatModelWithoutTemplate", {"chat", "-m", "@tiny.gguf"}, "has no chat template"},
      {"KernelsOfTheEnvironment",
       {"run", "-p", "a", "--raw", "-m", "@tiny.gguf"},
       "no kernels 'nope' on this machine",
       {"RESTKV_KERNELS=nope"}},
      {"PromptLongerThanTheContext",
       {"run", "-f", "@text.txt", "--raw", "-m", "@tiny.gguf", "-c", "16"},
       " tokens and the context 16; a longer one needs -c\n"},
      {"PromptLongerThanTheTraining",
       {"run", "-f", "@long.txt", "--raw", "-m", "@tiny.gguf"},
       "; a longer one needs -c (and perhaps --rope-scaling), beyond the 4096 that the model was "
       "trained for\n"},
      {"PerplexityTextTooShort",
       {"perplexity", "-p", "abc", "-m", "@tiny.gguf"},
       "the text has 3 tokens; a context of 512 needs at least 1024"},
      {"FedPerplexityTextTooShort",
       {"perplexity", "-p", "abc", "-m", "@tiny.gguf", "--kv-schedule", "cap", "-c", "9"},
       "the text has 3 tokens; -c asks for 9"},
      {"FedPerplexityStretchTooFar",
       {"perplexity", "-p", "abc", "-m", "@tiny.gguf", "--kv-schedule", "cap", "--stretch", "1-9"},
       "--stretch 1-9 goes beyond the 3 tokens that are read"},
  };
  return table;
}

class WrongUsage : public ::testing::TestWithParam<BadInput> {};
class WrongFile : public ::testing::TestWithParam<BadInput> {};
const auto name_of = [](const auto& one) { return std::string(one.param.name); };
INSTANTIATE_TEST_SUITE_P(, WrongUsage, ::testing::ValuesIn(usage_cases()), name_of);
INSTANTIATE_TEST_SUITE_P(, WrongFile, ::testing::ValuesIn(file_cases()), name_of);

TEST_P(WrongUsage, IsRefusedBeforeTheModelIsLoaded) {
  Words args = GetParam().args;
  const bool takes_model =
      (args[0] == "run" || args[0] == "chat" || args[0] == "perplexity" || args[0] == "demo") &&
      std::ranges::find(args, "-m") == args.end();
  if (takes_model) args.insert(args.begin() + 1, {"-m", "@missing.gguf"});
  const ProgramEnd end = run_program(
      with_paths(args), {.environment = GetParam().environment, .input = "", .output = ""});
  EXPECT_EQ(end.status, 2);
  expect_one_complaint(end, GetParam().error);
}

TEST_P(WrongFile, IsAnError) {
  Words args = GetParam().args;
  if (args[0] != "perplexity") args.insert(args.begin() + 1, {"--kv-policy", "full"});
  if (std::ranges::find(args, "-m") == args.end()) args.insert(args.end(), {"-m", "@missing.gguf"});
  const ProgramEnd end = run_program(
      with_paths(args), {.environment = GetParam().environment, .input = "", .output = ""});
  EXPECT_EQ(end.status, 1);
  expect_one_complaint(end, GetParam().error);
}

Words tiny_run(const Words& more) {
  Words args = {"run", "-m", "@tiny.gguf", "--raw", "-t", "1", "--temp", "0"};
  args.insert(args.end(), more.begin(), more.end());
  return with_paths(args);
}

TEST(BadInput, TheTinyModelAnswersWhenAllIsRight) {
  const ProgramEnd end =
      run_program(tiny_run({"-f", "@text.txt", "-p", "what", "-n", "8", "--kv-policy",
                            "streaming-llm", "--kv-budget", "10%", "--ignore-eos"}));
  EXPECT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out, "");
  EXPECT_NE(end.err.find("answer     8 tokens"), std::string::npos) << end.err;
}

TEST(BadInput, BrokenModelsAreNamedInOneLine) {
  std::ifstream in(scratch_folder() + "/tiny.gguf", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const std::string path = scratch_folder() + "/broken.gguf";
  for (const std::size_t n :
       {std::size_t{3}, std::size_t{20}, std::size_t{1000}, good.size() / 2, good.size() - 1}) {
    std::ofstream(path, std::ios::binary) << good.substr(0, n);
    const ProgramEnd end =
        run_program({"run", "-m", path, "-p", "a", "--raw", "--kv-policy", "full", "-t", "1"});
    EXPECT_EQ(end.status, 1) << n;
    expect_one_complaint(end, path + ": ");
  }
}

// libllama cuts words by a recursion that is as deep as the word is long.
TEST(BadInput, EndlessWordsDoNotRunOutOfStack) {
  for (const char* splitter : {"deepseek-llm", "deepseek-coder", "falcon", "default"}) {
    TinyLlama model = tiny_llama(1);
    model.keys.set_str("tokenizer.ggml.pre", splitter);
    const std::string path = scratch_folder() + "/splitter.gguf";
    ASSERT_TRUE(std::move(model).file().write(path).ok());
    const std::string text = scratch_folder() + "/word.txt";
    const Words args = {"run", "-m", path, "-f", text, "--raw", "-t", "1", "--kv-policy", "full"};
    std::ofstream(text) << std::string(300'000, '-');
    ProgramEnd end = run_program(args);
    EXPECT_EQ(end.status, 1) << splitter;
    expect_one_complaint(end, "there are no tokens to read");  // the tiny one lacks that sign
    std::ofstream(text) << std::string(1'100'000, '-');
    end = run_program(args);
    EXPECT_EQ(end.status, 1) << splitter;
    expect_one_complaint(end, "a line of 1100000 bytes");
  }
}

TEST(BadInput, UnreadableFilesAreNamed) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads every file";
  const std::string path = scratch_folder() + "/secret.txt";
  std::ofstream(path) << "text";
  std::filesystem::permissions(path, std::filesystem::perms::none);
  for (const char* flag : {"-f", "-m"}) {
    const ProgramEnd end = run_program({"run", "-p", "a", "--kv-policy", "full", flag, path});
    EXPECT_EQ(end.status, 1);
    expect_one_complaint(end, path + ": ");
  }
}

// Nothing printed is lost in silence, wherever the output goes.
TEST(BadInput, OutputThatCannotBeWrittenIsAnError) {
  const std::vector<Words> commands = {
      {"--help"},
      {"--version"},
      {"run", "--help"},
      {"policies"},
      {"policies", "--markdown"},
      tiny_run({"-p", "abc", "-n", "100000", "--ignore-eos", "--kv-policy", "full"}),
      tiny_run({"-p", "abc", "-n", "2", "--json", "--kv-policy", "full"}),
      with_paths({"perplexity", "-m", "@tiny.gguf", "-f", "@text.txt", "-c", "64", "-t", "1"}),
  };
  for (const char* output : {"/dev/full", "-"}) {
    for (const Words& command : commands) {
      const ProgramEnd end =
          run_program(command, {.environment = {}, .input = "", .output = output});
      EXPECT_EQ(end.status, 1) << command.front() << " to " << output;
      EXPECT_NE(end.err.find("restkv: standard output cannot be written\n"), std::string::npos)
          << command.front() << " to " << output << ": " << end.err;
    }
  }
}

TEST(BadInput, FlagsWithoutEffectSaySo) {
  for (const char* command : {"run", "chat", "perplexity"}) {
    const ProgramEnd end = run_program(with_paths(
        {command, "-p", "a", "--kv-policy", "full", "-ngl", "99", "-m", "@missing.gguf"}));
    EXPECT_EQ(end.status, 1);
    EXPECT_NE(end.err.find("restkv: --n-gpu-layers has no effect: there is no GPU here, "
                           "restkv runs on the CPU\n"),
              std::string::npos)
        << end.err;
  }
}

}  // namespace
}  // namespace restkv::testing
