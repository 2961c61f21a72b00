// Any bytes as a file that an evaluation reads: a benchmark's data, a list of variants, a table of
// block sizes. Refused in one line that names the file, or read so that everything can be asked and
// scored. The first byte says which file (a letter; a capital: cut to a length, or a longer one),
// the rest is what it holds.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/block_table_file.h"
#include "eval/scorers/scorer.h"
#include "eval/task.h"
#include "eval/variant.h"

namespace {

using restkv::Error;
using restkv::ErrorCode;
using restkv::Material;
using restkv::TaskRequest;
using restkv::TaskSample;
using restkv::Token;

void demand(bool good, const std::string& complaint) {
  if (good) return;
  std::fprintf(stderr, "eval_data_fuzz: %s\n", complaint.c_str());
  std::abort();
}

// A file in memory that has a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("eval_data_fuzz", 0)) {
    demand(descriptor_ >= 0, "no file in memory");
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  void set(std::string_view bytes) const {
    demand(::ftruncate(descriptor_, 0) == 0, "a file that cannot be emptied");
    const auto written = ::pwrite(descriptor_, bytes.data(), bytes.size(), 0);
    demand(written == static_cast<ssize_t>(bytes.size()), "a file that cannot be written");
  }

 private:
  int descriptor_;  // open to the end of the process
};

struct File {
  std::string_view path;
  std::string_view text;
};

constexpr File kAdjectives = {"ruler/adjectivelist.txt", "red\nbig\nold\n"};
constexpr File kNouns = {"ruler/nounlist.txt", "house\ntree\nlamp\n"};
constexpr File kVerbs = {"ruler/verblist.txt", "run\nsit\n"};
constexpr File kPrompts = {"longbench/config/dataset2prompt.json",
                           R"({"trec": "T {context} {input}", "qasper": "T {context} Q: {input} A:",
        "hotpotqa": "U {context} Q: {input} A:", "passage_count": "{context} How many?",
        "passage_retrieval_en": "{context} P: {input}", "samsum": "{context}\n\n{input}"})"};
constexpr File kMaxLens = {"longbench/config/dataset2maxlen.json",
                           R"({"trec": 8, "qasper": 8, "passage_count": 8,
                               "passage_retrieval_en": 8, "samsum": 8})"};
constexpr File kProblems = {"gsm8k/test.jsonl",
                            R"({"question": "How many?", "answer": "One.\n#### 1"})"};

struct Loader {
  std::string_view task;
  std::string_view file;  // the one under test
  Material material = Material::kAuto;
  std::array<File, 2> others = {};
  std::size_t length = 0;  // of tasks that need one; 0: as it comes, or cut
};
constexpr std::size_t kShort = 512;
constexpr std::size_t kPublishedLength = 4096;
constexpr std::size_t kCut = 256;

// 'a', 'b', ...: names and first bytes of the corpus go by this order.
constexpr Loader kLoaders[] = {
    {"ruler/vt", "ruler/4096/vt.jsonl", Material::kPublished, {}, kPublishedLength},
    {"ruler/niah_multikey_2", kNouns.path, Material::kAuto, {kAdjectives, kVerbs}, kShort},
    {"ruler/cwe", kVerbs.path, Material::kAuto, {kAdjectives, kNouns}, kShort},
    {"ruler/niah_multiquery", "ruler/PaulGrahamEssays.json", Material::kAuto, {}, kShort},
    {"needle/grid", "ruler/PaulGrahamEssays.json", Material::kAuto, {}, kShort},
    {"ruler/qa_1", "ruler/squad_dev_v2.0.json", Material::kAuto, {}, kShort},
    {"ruler/qa_2", "ruler/hotpot_dev_distractor.json", Material::kAuto, {}, kShort},
    {"minilongbench/qasper",
     kPrompts.path,
     Material::kAuto,
     {File{"minilongbench/MiniLongBench_qasper.json",
           R"({"0": {"origin_prompt": "T text Q: why? A:", "gold": ["so"]}})"}}},
    {"longbench/qasper",
     kMaxLens.path,
     Material::kAuto,
     {kPrompts, File{"longbench/qasper.jsonl",
                     R"({"context": "text", "input": "why?", "answers": ["so"]})"}}},
    {"longbench/trec", "longbench/trec.jsonl", Material::kAuto, {kPrompts, kMaxLens}},
    {"longbench/passage_retrieval_en",
     "longbench/passage_retrieval_en.jsonl",
     Material::kAuto,
     {kPrompts, kMaxLens}},
    {"longbench/passage_count",
     "longbench/passage_count.jsonl",
     Material::kAuto,
     {kPrompts, kMaxLens}},
    {"longbench/samsum", "longbench/samsum.jsonl", Material::kAuto, {kPrompts, kMaxLens}},
    {"minilongbench/trec",
     "minilongbench/MiniLongBench_trec.json",
     Material::kAuto,
     {kPrompts, kMaxLens}},
    {"minilongbench/qasper",
     "minilongbench/MiniLongBench_qasper.json",
     Material::kAuto,
     {kPrompts, kMaxLens}},
    {"gsm8k/zero-shot", "gsm8k/test.jsonl"},
    {"gsm8k/few-shot", "gsm8k/train.jsonl", Material::kAuto, {kProblems}},
    {"multiarith/zero-shot", "multiarith/MultiArith.json"},
    {"infinitebench/code_run", "infinitebench/code_run.jsonl", Material::kPublished, {}, kShort},
    {"infinitebench/math_find", "infinitebench/math_find.jsonl", Material::kPublished, {}, kShort},
    {"infinitebench/longbook_choice_eng", "infinitebench/longbook_choice_eng.jsonl"},
    {"infinitebench/passkey", "infinitebench/passkey.jsonl", Material::kPublished, {}, kShort},
};
constexpr std::size_t kVariants = std::size(kLoaders);  // 'w' and 'x', which are no task's
constexpr std::size_t kBlockTable = kVariants + 1;

// Three bytes are a token, the number of them in its fourth.
std::vector<Token> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    const std::string_view piece = text.substr(i, 3);
    auto token = static_cast<std::uint32_t>(piece.size());
    for (const char c : piece) token = (token << 8U) | static_cast<unsigned char>(c);
    tokens.push_back(static_cast<Token>(token));
  }
  return tokens;
}

std::string text_of(std::span<const Token> tokens) {
  std::string text;
  for (const Token token : tokens) {
    const auto bits = static_cast<std::uint32_t>(token);
    const unsigned size = bits >= 3U << 24U ? 3 : bits >= 2U << 16U ? 2 : 1;
    for (unsigned i = size; i-- > 0;) text += static_cast<char>((bits >> (8U * i)) & 0xFFU);
  }
  return text;
}

// One data folder for each loader, whose file under test is a link to one in memory.
class Folders {
 public:
  explicit Folders(const std::string& target) {
    std::string name = (std::filesystem::temp_directory_path() / "eval_data_fuzz_XXXXXX").string();
    demand(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    root_ = name;
    for (std::size_t i = 0; i < std::size(kLoaders); ++i) {
      make_link(of(i) / kLoaders[i].file, target);
      for (const File& other : kLoaders[i].others) {
        if (!other.path.empty()) write(of(i) / other.path, other.text);
      }
    }
  }
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;
  ~Folders() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  [[nodiscard]] std::filesystem::path of(std::size_t loader) const {
    return root_ / std::to_string(loader);
  }

 private:
  static void make_link(const std::filesystem::path& path, const std::string& target) {
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::create_symlink(target, path);
  }
  static void write(const std::filesystem::path& path, std::string_view text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  std::filesystem::path root_;
};

void check_error(const Error& error, std::string_view file) {
  const std::string& said = error.message;
  demand(!said.empty() && said.find('\n') == std::string::npos, "no line: " + said);
  const bool known = error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kIo ||
                     error.code == ErrorCode::kInvalidArgument;
  demand(known, "an error of another kind: " + said);
  demand(error.code != ErrorCode::kCorrupt || said.find(file) != std::string::npos,
         "the file is not named: " + said);
}

void check_sample(const Loader& loader, const TaskSample& sample) {
  demand(!sample.answers.empty(), "a question without an answer");
  demand(loader.length != kShort || loader.material != Material::kAuto ||
             sample.tokens <= sample.length,
         "a sample that is too long");
  const auto scorer = restkv::find_scorer(sample.metric);
  demand(scorer.ok(), "no such metric");
  const auto scored =
      restkv::score(**scorer, {.answers = sample.answers, .classes = sample.classes});
  demand(scored.ok(), "an answer that cannot be scored against");
}

void read_task(const Folders& folders, std::size_t which, bool other_length) {
  const Loader& loader = kLoaders[which];
  TaskRequest request;
  request.data_dir = folders.of(which).string();
  request.material = loader.material;
  request.samples = 2;
  request.tokenizer = {.tokenize = tokens_of, .detokenize = text_of};
  if (loader.length == kShort) {
    request.lengths = {other_length ? 3 * kShort : kShort};
  } else if (loader.length != 0) {
    request.lengths = {loader.length};
  } else if (other_length) {
    request.lengths = {kCut};
  }
  const restkv::TaskInfo* task = restkv::find_task(loader.task);
  demand(task != nullptr, "no such task");
  const auto samples = restkv::make_samples(*task, request);
  if (!samples.ok()) return check_error(samples.error(), loader.file);
  for (const TaskSample& sample : *samples) check_sample(loader, sample);
}

void read_variants(const MemoryFile& file) {
  static const MemoryFile kWritten;
  const auto variants = restkv::read_variants(file.path(), {});
  if (!variants.ok()) return check_error(variants.error(), file.path());
  demand(!variants->empty(), "no variant and no error");
  for (const restkv::EvalVariant& variant : *variants) {
    const auto json = restkv::variant_json(variant);
    if (json.contains("decode_table")) continue;  // named by its hash from here on
    kWritten.set("[" + json.dump() + "]");
    const auto again = restkv::read_variants(kWritten.path(), {});
    demand(again.ok() && restkv::variant_json(again->front()) == json,
           "a variant that changes when it is written down: " + json.dump());
  }
}

void read_block_table(const MemoryFile& file) {
  static const MemoryFile kWritten;
  const auto table = restkv::read_block_table(file.path());
  if (!table.ok()) return check_error(table.error(), file.path());
  kWritten.set(restkv::block_table_text(*table, {}));
  const auto again = restkv::read_block_table(kWritten.path());
  demand(again.ok() && again->block_rows == table->block_rows && again->n_layer == table->n_layer &&
             again->fingerprint == table->fingerprint,
         "a table that changes when it is written down");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile kFile;
  static const Folders kFolders(kFile.path());
  if (size == 0) return 0;
  const std::size_t letter = (data[0] + 31U) & 31U;  // 'a' and 'A' are 0
  const std::size_t which = letter % (kBlockTable + 1);
  kFile.set({reinterpret_cast<const char*>(data) + 1, size - 1});
  if (which == kVariants) {
    read_variants(kFile);
  } else if (which == kBlockTable) {
    read_block_table(kFile);
  } else {
    read_task(kFolders, which, (data[0] & 0x20U) == 0);
  }
  return 0;
}
