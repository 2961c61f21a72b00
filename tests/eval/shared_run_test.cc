// What ranks tell one another may be broken: an error then, never the end of the process.

#include "eval/shared_run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <vector>

namespace restkv {
namespace {

using Json = nlohmann::json;

std::string packed(const Json& json) {
  std::string bytes;
  Json::to_cbor(json, bytes);
  return bytes;
}

std::string ready(const std::string& identity) {
  return packed({{"kind", "ready"}, {"identity", identity}});
}

// The other rank says what it was given to say, and then that it is ready, as often as it is asked.
class ScriptedRanks final : public Ranks {
 public:
  ScriptedRanks(int rank, std::deque<std::string> said) : rank_(rank), said_(std::move(said)) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int count() const override { return 2; }
  void send(int /*rank*/, const std::string& /*bytes*/) override {}
  std::optional<RankMessage> receive() override {
    if (said_.empty()) said_.push_back(ready(identity));
    RankMessage message{.rank = 1 - rank_, .bytes = said_.front()};
    said_.pop_front();
    return message;
  }
  void abandon(int /*status*/) override { ADD_FAILURE() << "nobody asked for the end"; }

  std::string identity;  // of the plan

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

// Rank 2 takes long; rank 1, once it is told that this run is over, asks for work of the next.
class SlowAndQuickRanks final : public Ranks {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int count() const override { return 3; }
  void send(int rank, const std::string& bytes) override {
    const Json message = Json::from_cbor(bytes);
    const std::lock_guard lock(mutex_);
    ended_[rank] |= message["kind"] == "end";
    if (rank == 1 && message["kind"] == "end") said_.push_back({1, ready("")});
    if (rank == 2 && message["kind"] == "item") {
      given_ = message["item"];
      slow_is_busy = true;
      said_.push_back({1, ready("")});
    }
  }
  std::optional<RankMessage> receive() override {
    const std::lock_guard lock(mutex_);
    if (said_.empty() && slow_is_busy && polls_++ == 20) {
      Json rows = rows_message();
      rows["item"] = given_;
      said_.push_back({2, packed(rows)});
    }
    if (said_.empty()) return std::nullopt;
    RankMessage message = said_.front();
    said_.pop_front();
    return message;
  }
  void abandon(int /*status*/) override { ADD_FAILURE() << "nobody asked for the end"; }
  [[nodiscard]] bool all_ended() { return ended_[1] && ended_[2]; }

  std::atomic<bool> slow_is_busy = false;

 private:
  std::mutex mutex_;
  std::deque<RankMessage> said_ = {{2, ready("")}};
  std::map<int, bool> ended_;
  Json given_;
  int polls_ = 0;
};

TEST(SharedRun, NobodyIsToldTheEndBeforeAllRowsAreThere) {
  SlowAndQuickRanks ranks;
  const RunItem run_item = [&ranks](const EvalItem&) {
    while (!ranks.slow_is_busy) std::this_thread::yield();
    return ItemRows{};
  };
  std::set<std::size_t> taken;
  const SharedRunWatch watch{.take = [&taken](const EvalItem& item, const ItemRows&) {
    taken.insert(item.number);
    return Result<void>{};
  }};
  ASSERT_TRUE(lead_run(ranks, plan_of_two(), run_item, watch).ok());
  EXPECT_EQ(taken, (std::set<std::size_t>{0, 1}));
  EXPECT_TRUE(ranks.all_ended());
}

TEST(SharedRun, ARankWithAnotherModelOrOtherVariantsIsRefused) {
  EvalPlan plan = plan_of_two();
  plan.identity = "model version variants";
  const RunItem run_item = [](const EvalItem&) { return ItemRows{}; };
  const SharedRunWatch watch{
      .take = [](const EvalItem&, const ItemRows&) { return Result<void>{}; }};
  ScriptedRanks other(0, {ready("another model")});
  const auto done = lead_run(other, plan, run_item, watch);
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.error().message.find("rank 1 has another model"), std::string::npos);
  ScriptedRanks same(0, {});
  same.identity = plan.identity;
  EXPECT_TRUE(lead_run(same, plan, run_item, watch).ok());
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
