// Options as a user writes them: what is taken, and what the message says where it is not.

#include "restkv/params.h"

#include <gtest/gtest.h>

namespace restkv {
namespace {

constexpr ParamInfo kDeclared[] = {
    {.name = "alpha",
     .summary = "a share",
     .kind = ParamKind::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .choices = {}},
    {.name = "kernel",
     .summary = "rows",
     .kind = ParamKind::kInteger,
     .default_value = "7",
     .min = 1,
     .max = 99,
     .choices = {}},
    {.name = "wo",
     .summary = "a switch",
     .kind = ParamKind::kSwitch,
     .default_value = "on",
     .choices = {}},
    {.name = "pool",
     .summary = "a way",
     .kind = ParamKind::kChoice,
     .default_value = "before",
     .choices = "before|after|never"},
};

using Assignments = std::vector<ParamValues::Assignment>;

Result<ParamValues> parse(const Assignments& assignments) {
  return ParamValues::parse("rest-kv", kDeclared, assignments);
}

std::string message_of(const Assignments& assignments) {
  const auto values = parse(assignments);
  if (values.ok()) return "no error";
  EXPECT_EQ(values.error().code, ErrorCode::kInvalidArgument);
  return values.error().message;
}

TEST(ParamValues, DefaultsAreInForce) {
  const auto values = parse({});
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->number("alpha"), 0.5);
  EXPECT_EQ(values->integer("kernel"), 7);
  EXPECT_EQ(values->number("kernel"), 7.0);
  EXPECT_TRUE(values->on("wo"));
  EXPECT_EQ(values->choice("pool"), "before");
}

TEST(ParamValues, AssignmentsOverlayThem) {
  const auto values =
      parse({{"pool", "never"}, {"alpha", "1e-3"}, {"wo", "off"}, {"kernel", "99"}});
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->number("alpha"), 1e-3);
  EXPECT_EQ(values->integer("kernel"), 99);
  EXPECT_FALSE(values->on("wo"));
  EXPECT_EQ(values->choice("pool"), "never");
}

TEST(ParamValues, AllAreInOrderOfDeclarationAsWritten) {
  const auto values = parse({{"wo", "off"}, {"alpha", "0.250"}});
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->all(),
            (Assignments{{"alpha", "0.250"}, {"kernel", "7"}, {"wo", "off"}, {"pool", "before"}}));
}

TEST(ParamValues, TheLastOfSeveralCounts) {
  EXPECT_EQ(parse({{"kernel", "3"}, {"kernel", "5"}}).value().integer("kernel"), 5);
}

TEST(ParamValues, BoundsBelongToTheRange) {
  for (const char* value : {"0", "1", "-0", "1.0", "0.9999"}) {
    EXPECT_TRUE(parse({{"alpha", value}}).ok()) << value;
  }
  for (const char* value : {"1", "99", "5.0", "1e1"}) {
    EXPECT_TRUE(parse({{"kernel", value}}).ok()) << value;
  }
}

TEST(ParamValues, WrongValuesAreRefused) {
  for (const char* value : {"-0.001", "1.001", "nan", "inf", "-inf", "1e999", "", " 0.5", "0.5 ",
                            "0,5", "half", "0.5x", "0x1", "+0.5"}) {
    EXPECT_FALSE(parse({{"alpha", value}}).ok()) << value;
  }
  for (const char* value : {"0", "100", "1.5", "seven", "", "1e10", "-7"}) {
    EXPECT_FALSE(parse({{"kernel", value}}).ok()) << value;
  }
  for (const char* value : {"true", "1", "ON", ""})
    EXPECT_FALSE(parse({{"wo", value}}).ok()) << value;
  for (const char* value : {"", "befor", "before|after", "|", "Before", "before "}) {
    EXPECT_FALSE(parse({{"pool", value}}).ok()) << value;
  }
}

TEST(ParamValues, MessagesSayWhatIsAllowed) {
  EXPECT_EQ(message_of({{"alpha", "2"}}), "rest-kv: alpha takes a number from 0 to 1, not '2'");
  EXPECT_EQ(message_of({{"kernel", "1.5"}}),
            "rest-kv: kernel takes a whole number from 1 to 99, not '1.5'");
  EXPECT_EQ(message_of({{"wo", "yes"}}), "rest-kv: wo takes on or off, not 'yes'");
  EXPECT_EQ(message_of({{"pool", "x"}}), "rest-kv: pool takes one of before|after|never, not 'x'");
  EXPECT_EQ(message_of({{"beta", "1"}}),
            "rest-kv has no option 'beta' (known: alpha, kernel, wo, pool)");
}

TEST(ParamValues, OwnerWithoutOptionsSaysSo) {
  const Assignments some = {{"alpha", "1"}};
  const auto values = ParamValues::parse("full", {}, some);
  ASSERT_FALSE(values.ok());
  EXPECT_EQ(values.error().message, "full has no option 'alpha' (it has none)");
  EXPECT_TRUE(ParamValues::parse("full", {}, {}).value().all().empty());
}

TEST(NamedParams, AreTakenApart) {
  const auto alone = parse_named_params("snapkv");
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(alone->name, "snapkv");
  EXPECT_TRUE(alone->assignments.empty());
  const auto several = parse_named_params("rest-kv:alpha=0.2:wo=off:text=a=b");
  ASSERT_TRUE(several.ok());
  EXPECT_EQ(several->name, "rest-kv");
  EXPECT_EQ(several->assignments, (Assignments{{"alpha", "0.2"}, {"wo", "off"}, {"text", "a=b"}}));
}

TEST(NamedParams, WhatIsMissingIsAnError) {
  for (const char* text : {"", ":", ":a=1", "name:", "name::a=1", "name:a=1:", "name:a", "name:=1",
                           "name:a=", "name:a=1::b=2"}) {
    const auto parsed = parse_named_params(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_NE(parsed.error().message.find(text), std::string::npos) << parsed.error().message;
  }
}

}  // namespace
}  // namespace restkv
