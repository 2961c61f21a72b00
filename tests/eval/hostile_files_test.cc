// Broken data files: every one is refused with a message that names the file, and where there is
// one the line and the field.

#include <filesystem>
#include <fstream>

#include "eval/json_file.h"
#include "eval/samples.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

class HostileFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = process_folder() / "data";
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& file, std::string_view text) {
    const std::filesystem::path path = folder_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  Result<std::vector<TaskSample>> load(std::string_view task, std::vector<std::size_t> lengths,
                                       Material material) {
    TaskRequest request = request_of(std::move(lengths), 5, material);
    request.data_dir = folder_.string();
    return make_samples(*find_task(task), request);
  }
  // One broken file of a task and what its message must say.
  void refuses(std::string_view task, const std::string& file, std::string_view text,
               std::string_view said, Material material = Material::kAuto) {
    write(file, text);
    const auto samples = load(task, {4096}, material);
    ASSERT_FALSE(samples.ok()) << task << ": " << text.substr(0, 80);
    const std::string& message = samples.error().message;
    EXPECT_EQ(samples.error().code, ErrorCode::kCorrupt) << message;
    EXPECT_NE(message.find(file), std::string::npos) << message;
    EXPECT_NE(message.find(said), std::string::npos) << message << "\nwanted: " << said;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }

  std::filesystem::path folder_;
};

TEST_F(HostileFiles, Ruler) {
  const std::string file = "ruler/4096/niah_single_1.jsonl";
  const auto published = [&](std::string_view text, std::string_view said) {
    refuses("niah_single_1", file, text, said, Material::kPublished);
  };
  published("", "is empty");
  published("\n \n\r\n", "is empty");
  published("{\"input\": \"a\", \"outputs\": [\"b\"]", "line 1: no JSON");
  published("{\"input\": \"a\", \"outputs\": [\"b\"]}\n{}", "line 2: field 'input' is missing");
  published("{\"input\": 3, \"outputs\": [\"b\"]}",
            "line 1: field 'input' must be a string, it is number");
  published("{\"input\": \"a\", \"outputs\": \"b\"}", "'outputs' must be a list of strings");
  published("{\"input\": \"a\", \"outputs\": [1]}", "line 1, outputs[0]: is number, not a string");
  published("{\"input\": \"a\", \"outputs\": []}", "'outputs' must be a list that is not empty");
  published("{\"input\": \"\", \"outputs\": [\"b\"]}",
            "'input' must be a string that is not empty");
  published("[1, 2]", "line 1: is array, not an object");
  published("\xff\xfe{\0", "line 1: no JSON in UTF-8");
  published("{\"input\": \"\xc3(\", \"outputs\": [\"b\"]}", "no JSON in UTF-8");
  published(std::string(200'000, '['), "no JSON");
  published("{\"input\": \"a\", \"outputs\": [\"b\"], \"answer_prefix\": {}}", "'answer_prefix'");
}

TEST_F(HostileFiles, HugeLinesAreRefusedBeforeTheyAreRead) {
  write("long.jsonl", "");
  const std::string path = (folder_ / "long.jsonl").string();
  std::filesystem::resize_file(path, std::uintmax_t{1} << 40U);  // a hole
  const auto read =
      for_each_json_line(path, [](const JsonRecord&) -> Result<Reading> { return Reading::kGoOn; });
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("line 1: is longer than 64 MiB"), std::string::npos);
  EXPECT_NE(read_data_text(path).error().message.find("larger than 1 GiB"), std::string::npos);
}

TEST_F(HostileFiles, WordListsAndEssays) {
  write("ruler/adjectivelist.txt", "red\n");
  write("ruler/verblist.txt", "run\n");
  refuses("niah_single_1", "ruler/nounlist.txt", "\n \n", "holds no word");
  refuses("niah_single_1", "ruler/nounlist.txt", std::string_view("a\0b\n", 4),
          "line 1: holds control characters");
  refuses("niah_single_1", "ruler/nounlist.txt", "a \r\n\n caf\xe9\nb\n",  // Latin-1
          "line 3: is no text in UTF-8");
  refuses("niah_single_1", "ruler/nounlist.txt", "caf\u00e9\n a\tb\n",
          "line 2: holds control characters");
  write("ruler/nounlist.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\n");
  refuses("niah_single_2", "ruler/PaulGrahamEssays.json", "{\"text\": \"\"}", "has no word");
  refuses("niah_single_2", "ruler/PaulGrahamEssays.json", "{\"texts\": \"\"}", "'text' is missing");
  refuses("needle/grid", "ruler/PaulGrahamEssays.json", "", "no JSON");
}

// One adjective and two nouns do not make four keys.
TEST_F(HostileFiles, WordListsThatAreTooSmall) {
  write("ruler/adjectivelist.txt", "red\n");
  write("ruler/verblist.txt", "run\n");
  write("ruler/nounlist.txt", "house\ntree\n");
  const auto samples = load("niah_multikey_2", {4096}, Material::kAuto);
  ASSERT_FALSE(samples.ok());
  EXPECT_EQ(samples.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(samples.error().message.find("too few"), std::string::npos);
}

TEST_F(HostileFiles, DocumentSets) {
  const auto squad = [&](std::string_view text, std::string_view said) {
    refuses("qa_1", "ruler/squad_dev_v2.0.json", text, said);
  };
  squad("[]", "not an object");
  squad("{\"data\": []}", "holds no question");
  squad("{\"data\": [{}]}", "data[0]: field 'paragraphs' is missing");
  squad(
      "{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": [{\"question\": 1, "
      "\"answers\": []}]}]}]}",
      "data[0], paragraphs[0], qas[0]: field 'question' must be a string");
  squad(
      "{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": [{\"question\": \"q\", "
      "\"answers\": []}]}]}]}",
      "'answers' must be a list that is not empty");
  const auto hotpot = [&](std::string_view text, std::string_view said) {
    refuses("qa_2", "ruler/hotpot_dev_distractor_100.json", text, said);
  };
  hotpot("{}", "not a list");
  hotpot("[]", "holds no question");
  hotpot(
      "[{\"question\": \"q\", \"answer\": \"a\", \"supporting_facts\": {\"title\": []}, "
      "\"context\": {\"title\": [\"t\"], \"sentences\": []}}]",
      "lists of one length");
  const std::string beginning = "[{\"question\": \"q\", \"answer\": \"a\", \"supporting_facts\": ";
  hotpot(beginning + "[\"t\"], \"context\": []}]", "supporting_facts[0]");
  hotpot(beginning + "[[1, 0]], \"context\": []}]", "must be a text");
  hotpot(beginning + "[], \"context\": []}]", "'context' must be a list that is not empty");
  hotpot(beginning + "[], \"context\": [[\"t\"]]}]", "context[0]: must be a list of two");
  hotpot(beginning + "[], \"context\": [[\"t\", [1]]]}]", "context[0]");
}

// The published file has pairs where copies of it have columns.
TEST_F(HostileFiles, HotpotIsReadInBothOfItsForms) {
  const std::string beginning =
      "[{\"question\": \"Who?\", \"answer\": \"Ann\", \"supporting_facts\": ";
  const auto prompts = [&](const std::string& rest) {
    write("ruler/hotpot_dev_distractor.json", beginning + rest + "}]");
    const auto samples = load("qa_2", {512}, Material::kAuto);
    EXPECT_TRUE(samples.ok()) << samples.error().message;
    return samples.ok() ? samples->at(0).prompt() : std::string();
  };
  const std::string by_column = prompts(
      "{\"title\": [\"B\"], \"sent_id\": [0]}, \"context\": {\"title\": [\"A\", \"B\"], "
      "\"sentences\": [[\"One. \", \"Two.\"], [\"Ann did.\"]]}");
  EXPECT_NE(by_column.find("B\nAnn did."), std::string::npos) << by_column;
  EXPECT_EQ(by_column, prompts("[[\"B\", 0]], \"context\": [[\"A\", [\"One. \", \"Two.\"]], "
                               "[\"B\", [\"Ann did.\"]]]"));
}

TEST_F(HostileFiles, LongBench) {
  write("longbench/config/dataset2prompt.json", "{\"qasper\": \"T {context} Q {input}\"}");
  write("longbench/config/dataset2maxlen.json", "{\"qasper\": 16}");
  const std::string file = "longbench/qasper.jsonl";
  refuses("longbench/qasper", file, "{\"context\": \"c\", \"input\": \"\"}",
          "'answers' is missing");
  refuses("longbench/qasper", file, "{\"context\": \"c\", \"input\": null, \"answers\": [\"a\"]}",
          "'input' must be a string, it is null");
  refuses("longbench/qasper", file,
          "{\"context\": \"c\", \"input\": \"\", \"answers\": [\"a\"], \"dataset\": \"trec\"}",
          "'dataset' says 'trec'");
  write(file, "{\"context\": \"{input}\", \"input\": \"{context}\", \"answers\": [\"a\"]}");
  const auto samples = load("longbench/qasper", {}, Material::kAuto);
  ASSERT_TRUE(samples.ok()) << samples.error().message;
  EXPECT_EQ(samples->at(0).prompt(), "T {input} Q {context}");  // literally, once each
  refuses("longbench/qasper", "longbench/config/dataset2maxlen.json", "{\"qasper\": -1}",
          "a number of tokens");
  refuses("longbench/qasper", "longbench/config/dataset2prompt.json", "{\"qasper\": \"x\"}",
          "a template with {context}");
  refuses("longbench/qasper", "longbench/config/dataset2prompt.json", "{}", "'qasper' is missing");
}

// Answers that the metric cannot compare anything with: nothing is read, nothing is answered.
TEST_F(HostileFiles, LongBenchAnswersThatCannotBeScored) {
  write("longbench/config/dataset2prompt.json",
        "{\"trec\": \"{context}{input}\", \"passage_retrieval_en\": \"{context}{input}\", "
        "\"passage_count\": \"{context}\"}");
  write("longbench/config/dataset2maxlen.json",
        "{\"trec\": 8, \"passage_retrieval_en\": 8, \"passage_count\": 8}");
  const std::string row = "{\"context\": \"c\", \"input\": \"i\", \"answers\": ";
  const auto published = [&](const std::string& set, std::string_view rest, std::string_view said) {
    refuses("longbench/" + set, "longbench/" + set + ".jsonl", row + std::string(rest), said);
  };
  published("trec", "[\"a\"], \"all_classes\": null}",
            "line 1: field 'all_classes' must be a list that is not empty, it is null");
  published("trec", "[\"a\"], \"all_classes\": []}", "line 1: field 'all_classes'");
  published("passage_retrieval_en", "[\"Paragraph 3\"]}\n" + row + "[\"Page\\n3\"]}",
            "line 2: field 'answers': the answer 'Page?3' names no paragraph");
  published("passage_count", "[\"7\", \"seven\"]}",
            "line 1: field 'answers': the answer 'seven' is no number");
  const auto mini = [&](const std::string& set, std::string_view gold, std::string_view said) {
    refuses("minilongbench/" + set, "minilongbench/MiniLongBench_" + set + ".json",
            "{\"0\": {\"origin_prompt\": \"p\", \"gold\": " + std::string(gold) + "}}", said);
  };
  mini("trec", "[\"a\"]", "0: field 'gold' must be an object");
  mini("trec", "{\"answers\": [\"a\"], \"all_classes\": []}", "0, gold: field 'all_classes'");
  mini("passage_retrieval_en", "[\"3\"]", "0: field 'gold': the answer '3' names no paragraph");
}

TEST_F(HostileFiles, InfiniteBenchAnswersThatCannotBeScored) {
  const auto refused = [&](const std::string& task, std::string_view answer,
                           std::string_view said) {
    refuses(
        task, "infinitebench/" + task + ".jsonl",
        "{\"context\": \"c\", \"input\": \"func_1(2)\", \"answer\": " + std::string(answer) + "}",
        said, Material::kPublished);
  };
  refused("code_run", "\"three\"", "line 1: field 'answer': the answer 'three' is no whole number");
  refused("code_run", "3.5", "line 1: field 'answer': the answer '3.5' is no whole number");
  refused("math_find", "\"big\"", "line 1: field 'answer': the answer 'big' is no number");
  refused("math_calc", "[\"x\"]", "line 1: field 'answer'");
}

TEST_F(HostileFiles, MiniLongBench) {
  write("longbench/config/dataset2prompt.json",
        "{\"qasper\": \"T {context} Q {input}\", \"hotpotqa\": \"T {context} R {input}\"}");
  const std::string file = "minilongbench/MiniLongBench_qasper.json";
  const auto refused = [&](std::string_view text, std::string_view said) {
    refuses("minilongbench/qasper", file, text, said);
  };
  refused("{}", "must be an object with items");
  refused("{\"1\": {}}", "'0' is missing");
  refused("{\"0\": {\"origin_prompt\": \"p\", \"gold\": 1}}", "'gold' must be a list of strings");
  refused("{\"0\": {\"origin_prompt\": \"p\", \"gold\": {\"answers\": [\"a\"]}}}", "'all_classes'");
  write(file, "{\"0\": {\"origin_prompt\": \"T a Q b Q c\", \"gold\": [\"a\"]}}");
  const auto samples = load("minilongbench/qasper", {}, Material::kAuto);
  ASSERT_TRUE(samples.ok()) << samples.error().message;
  EXPECT_EQ(samples->at(0).question, " Q c");
}

TEST_F(HostileFiles, WordProblems) {
  const auto gsm8k = [&](std::string_view text, std::string_view said) {
    refuses("gsm8k/zero-shot", "gsm8k/test.jsonl", text, said);
  };
  gsm8k("{\"question\": \"q\", \"answer\": \"12\"}",
        "line 1: field 'answer' must be text with a line");
  gsm8k("{\"question\": \"q\", \"answer\": \"#### twelve\"}", "must end in a number");
  gsm8k("{\"question\": \"q\", \"answer\": \"####\"}", "must end in a number");
  gsm8k("{\"question\": \"q\", \"answer\": \"#### 1.2.3\"}", "line 1: field 'answer' must end");
  write("gsm8k/test.jsonl",
        "{\"question\": \"q\", \"answer\": \"a <<1+1=2>>2 <<x\\n#### -1,234\"}");
  write("gsm8k/train.jsonl", "{\"question\": \"q\", \"answer\": \"a <<1+1=2>>2 <<x\\n#### 7\"}");
  const auto samples = load("gsm8k/zero-shot", {}, Material::kAuto);
  ASSERT_TRUE(samples.ok());
  EXPECT_EQ(samples->at(0).answers[0], "-1234");
  const auto few = load("gsm8k/few-shot", {}, Material::kAuto);
  ASSERT_FALSE(few.ok());
  EXPECT_NE(few.error().message.find("holds 1 problems, 8 are needed"), std::string::npos);
  const auto multiarith = [&](std::string_view text, std::string_view said) {
    refuses("multiarith/zero-shot", "multiarith/MultiArith.json", text, said);
  };
  multiarith("[]", "holds no problem");
  multiarith("[{\"sQuestion\": \" \", \"lSolutions\": [1]}]", "'sQuestion' must be text");
  multiarith("[{\"sQuestion\": \"q\", \"lSolutions\": []}]", "'lSolutions' must be a list");
  multiarith("[{\"sQuestion\": \"q\", \"lSolutions\": [1e300]}]", "'lSolutions'");
  multiarith("[{\"sQuestion\": \"q\", \"lSolutions\": [1e-9]}]",
             "[0]: field 'lSolutions' must be a list of numbers that are written");
  multiarith("[{\"sQuestion\": \"q\", \"lSolutions\": [1e999]}]", "no number type takes");
  multiarith("[{\"sQuestion\": \"q\", \"lSolutions\": [\"1\"]}]", "lSolutions[0]: is no number");
}

TEST_F(HostileFiles, InfiniteBench) {
  const std::string file = "infinitebench/longbook_choice_eng.jsonl";
  const auto refused = [&](std::string_view text, std::string_view said) {
    refuses("longbook_choice_eng", file, text, said);
  };
  refused("{\"input\": \"q\", \"answer\": \"a\"}", "'content' is missing");
  refused("{\"context\": \"c\", \"input\": \"q\"}", "'answer' must be an answer");
  refused("{\"context\": \"c\", \"input\": \"q\", \"answer\": {}}", "not an answer");
  refused("{\"context\": \"c\", \"input\": \"q\", \"answer\": [[[[1]]]]}", "within a list");
  refused("{\"context\": \"c\", \"input\": \"q\", \"answer\": [1, [2, [3]]]}", "within a list");
  std::string deep = "{\"context\": \"c\", \"input\": \"q\", \"answer\": 0";
  for (int i = 0; i < 20000; ++i) deep.insert(deep.size() - 1, "[0, ");
  refused(deep + std::string(20000, ']') + "}", "within a list");
  refused("{\"context\": \"c\", \"input\": \"q\", \"answer\": \"a\", \"options\": [\"a\"]}",
          "line 1: field 'options' must be a list of four");
  refused(
      "{\"context\": \"c\", \"input\": \"q\", \"answer\": \"z\", \"options\": [\"a\", \"b\", "
      "\"c\", \"d\"]}",
      "none of the options");
  write(file,
        "{\"context\": \"c\", \"input\": \"q\", \"answer\": [\"c\"], \"options\": [\"a\", "
        "\"b\", \"c\", \"d\"]}");
  const auto samples = load("longbook_choice_eng", {}, Material::kAuto);
  ASSERT_TRUE(samples.ok()) << samples.error().message;
  EXPECT_EQ(samples->at(0).answers, (std::vector<std::string>{"c", "C"}));
  EXPECT_NE(samples->at(0).question.find("\nC. c\n"), std::string::npos);
  refuses("code_run", "infinitebench/code_run.jsonl",
          "{\"context\": \"c\", \"input\": \"no call\", \"answer\": 3}", "line 1: field 'input'",
          Material::kPublished);
  write("infinitebench/code_run.jsonl",
        "{\"context\": \"c\", \"input\": \"what is func_7(-3)?\", \"answer\": 3}");
  const auto code = load("code_run", {4096}, Material::kPublished);
  ASSERT_TRUE(code.ok()) << code.error().message;
  const auto whole = load("code_run", {}, Material::kPublished);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->at(0).prompt(), code->at(0).prompt());
  EXPECT_FALSE(load("code_run", {}, Material::kOwn).ok()) << "made at a length";
  EXPECT_EQ(code->at(0).answers, std::vector<std::string>{"3"});
  EXPECT_NE(code->at(0).question.find("func_7(-3)"), std::string::npos);
}

// Every prefix of a good file is read or refused, never worse.
TEST_F(HostileFiles, CutAnywhere) {
  const std::string good =
      "{\"input\": \"head\\n\u00e9\\nWhat? It is\", \"outputs\": [\"b\"], \"answer_prefix\": "
      "\"\"}\n"
      "{\"input\": \"x\", \"outputs\": [\"y\", \"z\"]}\n";
  for (std::size_t size = 0; size <= good.size(); ++size) {
    write("ruler/4096/vt.jsonl", good.substr(0, size));
    const auto samples = load("vt", {4096}, Material::kPublished);
    const bool whole_lines =
        size + 1 >= good.size() || size == good.find('\n') || size == good.find('\n') + 1;
    EXPECT_EQ(samples.ok(), whole_lines) << size;
  }
}

}  // namespace
}  // namespace restkv
