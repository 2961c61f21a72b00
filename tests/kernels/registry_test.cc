// Tables can be listed and forced; a wrong request names what there is.

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include "kernels/kernels.h"

namespace restkv {
namespace {

constexpr const char* kVariable = "RESTKV_KERNELS";

// Sets the variable for the life of a test.
class WithVariable {
 public:
  explicit WithVariable(const char* value) {
    if (const char* before = std::getenv(kVariable)) before_ = before;
    value != nullptr ? setenv(kVariable, value, 1) : unsetenv(kVariable);
  }
  ~WithVariable() { before_ ? setenv(kVariable, before_->c_str(), 1) : unsetenv(kVariable); }
  WithVariable(const WithVariable&) = delete;
  WithVariable& operator=(const WithVariable&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(KernelRegistry, ListsTheReferenceFirstAndTheBestLast) {
  ASSERT_FALSE(all_tables().empty());
  EXPECT_EQ(all_tables().front()->name, "ref");
  EXPECT_EQ(&best_table(), all_tables().back());
  EXPECT_GT(all_tables().size(), 1U) << "a machine without any vectors?";
}

TEST(KernelRegistry, TablesAreNamedDescribedAndComplete) {
  std::set<std::string_view> names;
  for (const KernelTable* table : all_tables()) {
    SCOPED_TRACE(table->name);
    EXPECT_FALSE(table->name.empty());
    EXPECT_FALSE(table->description.empty());
    EXPECT_TRUE(names.insert(table->name).second);
    EXPECT_TRUE(table->dot && table->axpy && table->rms_norm && table->silu_mul &&
                table->gelu_mul && table->add && table->rope_adjacent && table->rope_halves);
    EXPECT_TRUE(table->encode_row && table->decode_row);
    EXPECT_TRUE(table->prefill_attention && table->decode_attention && table->window_attention &&
                table->column_sums && table->sparse_attention);
    EXPECT_TRUE(table->output_distances && table->weighted_sum && table->projected_sizes);
  }
}

TEST(KernelRegistry, FindsEveryTableByName) {
  const WithVariable variable("no-such-table");  // a name that is given wins
  for (const KernelTable* table : all_tables()) {
    const auto found = table_by_name(table->name);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, table);
  }
}

TEST(KernelRegistry, UnknownNameIsAnErrorThatListsTheKnownOnes) {
  const auto found = table_by_name("avx9");
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(found.error().message.find("'avx9'"), std::string::npos);
  for (const KernelTable* table : all_tables()) {
    EXPECT_NE(found.error().message.find(table->name), std::string::npos) << found.error().message;
  }
  EXPECT_EQ(found.error().message.find(kVariable), std::string::npos);
}

TEST(KernelRegistry, EnvironmentForcesATable) {
  for (const KernelTable* table : all_tables()) {
    const WithVariable variable(std::string(table->name).c_str());
    const auto found = table_by_name("");
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(*found, table);
  }
  for (const char* nothing : {static_cast<const char*>(nullptr), ""}) {
    const WithVariable variable(nothing);
    EXPECT_EQ(table_by_name("").value(), &best_table());
  }
}

TEST(KernelRegistry, WrongEnvironmentIsAnErrorThatNamesIt) {
  const WithVariable variable("AVX2");  // names are lower case
  const auto found = table_by_name("");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find(kVariable), std::string::npos) << found.error().message;
  EXPECT_NE(found.error().message.find("ref"), std::string::npos) << found.error().message;
}

}  // namespace
}  // namespace restkv
