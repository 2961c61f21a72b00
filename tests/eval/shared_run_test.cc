// What ranks tell one another may be broken: an error then, never the end of the process.

#include "eval/shared_run.h"

#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <vector>

namespace restkv {
namespace {

using Json = nlohmann::json;

std::string packed(const Json& json) {
  std::string bytes;
  Json::to_cbor(json, bytes);
  return bytes;
}

// The other rank says what it was given to say, and then that it is ready, as often as it is asked.
class ScriptedRanks final : public Ranks {
 public:
  ScriptedRanks(int rank, std::deque<std::string> said) : rank_(rank), said_(std::move(said)) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int count() const override { return 2; }
  void send(int /*rank*/, const std::string& /*bytes*/) override {}
  std::optional<RankMessage> receive() override {
    if (said_.empty()) said_.push_back(packed({{"kind", "ready"}}));
    RankMessage message{.rank = 1 - rank_, .bytes = said_.front()};
    said_.pop_front();
    return message;
  }
  void abandon(int /*status*/) override { ADD_FAILURE() << "nobody asked for the end"; }

 private:
  int rank_;
  std::deque<std::string> said_;
};

// What a follower may be asked for.
EvalPlan plan_of_two() {
  EvalPlan plan;
  for (std::size_t i = 0; i < 2; ++i) {
    EvalItem& item = plan.items.emplace_back();
    item.number = i;
    item.hash = "hash " + std::to_string(i);
    item.variants = {0, 1, 2};
  }
  return plan;
}

Json rows_message() {
  return {{"kind", "rows"},     {"item", 1},        {"rows", Json::array()}, {"tokens", 5},
          {"shared_tokens", 2}, {"shared_ms", 0.5}, {"pieces", {"a", "b"}}};
}

TEST(SharedRun, BrokenRowsEndTheRunWithAnError) {
  std::vector<std::string> broken = {"", "no CBOR at all", packed(Json::array()),
                                     packed({{"kind", 7}}), packed({{"kind", "unknown"}})};
  const auto with = [&](const char* field, const Json& value) {
    Json message = rows_message();
    message[field] = value;
    broken.push_back(packed(message));
  };
  const auto without = [&](const char* field) {
    Json message = rows_message();
    message.erase(field);
    broken.push_back(packed(message));
  };
  with("item", 17);
  with("item", "one");
  with("rows", 3);
  with("rows", {{1, 2}});
  with("tokens", -1);
  with("shared_ms", "fast");
  with("shared_ms", nullptr);
  with("pieces", "text");
  with("pieces", {"text", 3});
  for (const char* field : {"item", "rows", "tokens", "shared_tokens", "shared_ms"}) without(field);
  const EvalPlan plan = plan_of_two();
  const RunItem run_item = [](const EvalItem&) { return ItemRows{}; };
  const SharedRunWatch watch{
      .take = [](const EvalItem&, const ItemRows&) { return Result<void>{}; }};
  for (const std::string& bytes : broken) {
    ScriptedRanks ranks(0, {bytes});
    const auto done = lead_run(ranks, plan, run_item, watch);
    ASSERT_FALSE(done.ok()) << bytes;
    EXPECT_EQ(done.error().code, ErrorCode::kCorrupt) << bytes;
  }
  ScriptedRanks whole(0, {packed(rows_message())});
  EXPECT_TRUE(lead_run(whole, plan, run_item, watch).ok());
}

TEST(SharedRun, BrokenOrdersEndAFollowerWithAnError) {
  const Json good = {{"kind", "item"}, {"item", 1}, {"hash", "hash 1"}, {"variants", {0, 2}}};
  const EvalPlan plan = plan_of_two();
  std::vector<std::size_t> seen;
  const RunItem run_item = [&seen](const EvalItem& item) {
    seen = item.variants;
    return ItemRows{};
  };
  const auto follow = [&](const Json& order) {
    ScriptedRanks ranks(1, {packed(order), packed({{"kind", "end"}})});
    return follow_run(ranks, plan, run_item, nullptr);
  };
  ASSERT_TRUE(follow(good).ok());
  EXPECT_EQ(seen, (std::vector<std::size_t>{0, 2}));
  for (const auto& [field, value] : std::vector<std::pair<const char*, Json>>{
           {"variants", 3}, {"variants", {-1}}, {"variants", {0, 3}}, {"variants", {"all"}}}) {
    Json order = good;
    order[field] = value;
    const auto done = follow(order);
    ASSERT_FALSE(done.ok()) << order;
    EXPECT_EQ(done.error().code, ErrorCode::kCorrupt) << order;
  }
  for (const char* field : {"item", "hash", "variants"}) {
    Json order = good;
    order.erase(field);
    EXPECT_FALSE(follow(order).ok()) << order;
  }
}

}  // namespace
}  // namespace restkv
