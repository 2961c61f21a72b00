// The check of the keys (tensor/vocabulary_check.h) on files that libllama's authors made: it must
// not be in the way of any good one.

#include "tensor/vocabulary_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "text/vocabularies.h"

namespace restkv::testing {
namespace {

class VocabularyKeys : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, VocabularyKeys, ::testing::ValuesIn(vocabulary_names()), case_name);

TEST_P(VocabularyKeys, GoodFilesPass) {
  const std::string path = vocabulary_path(GetParam());
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no file " << path;
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto checked = check_vocabulary_keys(**file);
  EXPECT_TRUE(checked.ok()) << checked.error().message;
}

}  // namespace
}  // namespace restkv::testing
