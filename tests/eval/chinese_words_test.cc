#include "eval/chinese_words.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/process_folder.h"

namespace restkv {
namespace {

using Pieces = std::vector<std::string>;

// A folder of small tables in jieba's form; gone with the object.
class Tables {
 public:
  Tables() : folder_(process_file("chinese_words")) {
    std::filesystem::create_directories(folder_ + "/finalseg");
    write("dict.txt", "甲乙 10 n\n乙丙丁 3 n\n甲 1 n\n");
    write("finalseg/prob_start.py", "P={'B': -0.5,\n 'E': -3.14e+100,'M': -3.14e+100, 'S': -1}");
    write("finalseg/prob_trans.py",
          "P={'B': {'E': -0.1}, 'E': {'B': -1, 'S': -1},\n"
          "'M': {'E': -1}, 'S': {'B': -1, 'S': -1}}");
    write("finalseg/prob_emit.py",
          "P={'B': {'\\u4e00': -1.0}, 'E': {'\\u4e8c': -1},\n"
          " 'M': {}, 'S': {'\\u4e09': -1}}\n");
  }
  ~Tables() { std::filesystem::remove_all(folder_); }
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

TEST(ChineseWords, DictionaryFirstThenTheModel) {
  const Tables tables;
  const auto words = ChineseWords::load(tables.folder());
  ASSERT_TRUE(words.ok()) << words.error().message;
  EXPECT_EQ(words->cut("甲乙甲"), (Pieces{"甲乙", "甲"}));
  // 甲乙 + 丙 + 丁 against 甲 + 乙丙丁: 10/14 (1/14)^2 against 1/14 3/14.
  EXPECT_EQ(words->cut("甲乙丙丁"), (Pieces{"甲", "乙丙丁"}));
  EXPECT_EQ(words->cut("一二三"), (Pieces{"一二", "三"}));  // known to the model alone
  EXPECT_EQ(words->cut("ab1.5%甲乙。\r\n "), (Pieces{"ab1.5%", "甲乙", "。", "\r\n", " "}));
  EXPECT_EQ(words->cut(""), Pieces{});
  EXPECT_EQ(words->cut("\xFF甲乙\xE4"), (Pieces{"\uFFFD", "甲乙", "\uFFFD"}));
}

TEST(ChineseWords, AMissingFolderNamesFileAndPackage) {
  const auto words = ChineseWords::load("/nowhere");
  ASSERT_FALSE(words.ok());
  EXPECT_EQ(words.error().code, ErrorCode::kNotFound);
  EXPECT_NE(words.error().message.find("/nowhere/dict.txt"), std::string::npos);
  EXPECT_NE(words.error().message.find("python3-jieba"), std::string::npos);
}

TEST(ChineseWords, BrokenFilesNameFileAndLine) {
  struct Case {
    const char* file;
    const char* text;
    const char* where;
  };
  const Case cases[] = {
      {"dict.txt", "甲乙 10 n\n甲乙\n", "dict.txt:2"},
      {"dict.txt", "甲乙 many n\n", "dict.txt:1"},
      {"dict.txt", "甲乙 99999999999 n\n", "dict.txt:1"},
      {"dict.txt", " 3 n\n", "dict.txt:1"},
      {"dict.txt", "甲 0\n", "dict.txt:1"},
      {"finalseg/prob_start.py", "Q={}", "prob_start.py:1"},
      {"finalseg/prob_start.py", "P={}", "prob_start.py:1"},
      {"finalseg/prob_start.py", "P={'X': 1}", "prob_start.py:1"},
      {"finalseg/prob_start.py", "P={'B': {'E': 1}}", "prob_start.py:1"},
      {"finalseg/prob_trans.py", "P={'B': {\n'E': x}}", "prob_trans.py:2"},
      {"finalseg/prob_trans.py", "P={'B': {'E': {'E': 1}}}", "prob_trans.py:1"},
      {"finalseg/prob_emit.py", "P={'B': {'\\u4e00': -1", "prob_emit.py:1"},
      {"finalseg/prob_emit.py", "P={'B': {'\\u4e0x': -1}}", "prob_emit.py:1"},
      {"finalseg/prob_emit.py", "P={'B': {'ab': -1}}", "prob_emit.py:1"},
      {"finalseg/prob_emit.py", "P={'B", "prob_emit.py:1"},
  };
  for (const Case& one : cases) {
    const Tables tables;
    tables.write(one.file, one.text);
    const auto words = ChineseWords::load(tables.folder());
    ASSERT_FALSE(words.ok()) << one.text;
    EXPECT_EQ(words.error().code, ErrorCode::kCorrupt) << one.text;
    EXPECT_NE(words.error().message.find(one.where), std::string::npos) << words.error().message;
  }
}

}  // namespace
}  // namespace restkv
