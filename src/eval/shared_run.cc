#include "eval/shared_run.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>
#include <vector>

namespace restkv {
namespace {

using Json = nlohmann::json;

// Long enough to cost nothing, short beside a prompt.
constexpr auto kPoll = std::chrono::milliseconds(2);

// CBOR: predictions may hold any bytes.
std::string packed(const Json& json) {
  std::string bytes;
  Json::to_cbor(json, bytes);
  return bytes;
}

Error broken() { return {ErrorCode::kCorrupt, "a message between ranks is broken"}; }

Result<Json> unpacked(const std::string& bytes) {
  Json json = Json::from_cbor(bytes, /*strict=*/true, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string()) return broken();
  return json;
}

Json row_values(const EvalRow& row) {
  Json values = Json::array();
  for (const EvalColumn& column : eval_columns()) {
    std::visit([&](auto member) { values.push_back(row.*member); }, column.member);
  }
  return values;
}

Result<EvalRow> row_of(const Json& values) {
  const auto columns = eval_columns();
  if (!values.is_array() || values.size() != columns.size()) return broken();
  EvalRow row;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const Json& value = values[i];
    const bool fits = columns[i].member.index() == 0   ? value.is_string()
                      : columns[i].member.index() == 1 ? value.is_number_integer()
                                                       : value.is_number();
    if (!fits) return broken();
    std::visit([&](auto member) { value.get_to(row.*member); }, columns[i].member);
  }
  return row;
}

Json rows_message(const EvalItem& item, const ItemRows& done) {
  Json rows = Json::array();
  for (const EvalRow& row : done.rows) rows.push_back(row_values(row));
  Json message = {{"kind", "rows"},
                  {"item", item.number},
                  {"rows", std::move(rows)},
                  {"tokens", done.prefix.tokens},
                  {"shared_tokens", done.prefix.shared_tokens},
                  {"shared_ms", done.prefix.shared_ms}};
  if (done.prompt) message["pieces"] = done.prompt->pieces;
  return message;
}

bool is_list(const Json& value, bool (Json::*is_element)() const noexcept) {
  return value.is_array() && std::ranges::all_of(value, [is_element](const Json& element) {
           return (element.*is_element)();
         });
}

Result<ItemRows> rows_of(const Json& message, const EvalItem& item) {
  const auto whole = [&](const char* field) {
    return message.contains(field) && message[field].is_number_unsigned();
  };
  if (!message.contains("rows") || !message["rows"].is_array() || !whole("tokens") ||
      !whole("shared_tokens") || !message.contains("shared_ms") ||
      !message["shared_ms"].is_number()) {
    return broken();
  }
  if (message.contains("pieces") && !is_list(message["pieces"], &Json::is_string)) return broken();
  ItemRows done;
  for (const Json& values : message["rows"]) {
    RESTKV_ASSIGN(done.rows.emplace_back(), row_of(values));
  }
  done.prefix = {.tokens = message["tokens"].get<std::size_t>(),
                 .shared_tokens = message["shared_tokens"].get<std::size_t>(),
                 .shared_ms = message["shared_ms"].get<double>()};
  if (message.contains("pieces")) {
    done.prompt =
        EvalPrompt{.hash = item.hash, .pieces = message["pieces"].get<std::vector<std::string>>()};
  }
  return done;
}

bool is_raised(const std::atomic<bool>* flag) { return flag != nullptr && flag->load(); }

Error interrupted() {
  return {ErrorCode::kCancelled, "interrupted; the same command goes on where it stopped"};
}

void end_all(Ranks& ranks, const std::vector<int>& idle) {
  for (const int rank : idle) ranks.send(rank, packed({{"kind", "end"}}));
}

// Rank 0's side: its own thread and the one that answers the others take from one list.
class Leader {
 public:
  Leader(Ranks& ranks, const EvalPlan& plan, const SharedRunWatch& watch)
      : ranks_(ranks), plan_(plan), watch_(watch) {}

  Result<void> run(const RunItem& run_item) {
    std::thread answering([this] { answer(); });
    while (const EvalItem* item = next()) {
      auto done = run_item(*item);
      if (done.ok()) {
        take(*item, *done);
      } else {
        fail(done.error());
      }
    }
    answering.join();
    if (failure_) return *failure_;
    return {};
  }

 private:
  // Null when nothing is left, or when the run has failed.
  const EvalItem* next() {
    const std::lock_guard lock(mutex_);
    if (failure_ || next_ == plan_.items.size()) return nullptr;
    return &plan_.items[next_++];
  }
  void take(const EvalItem& item, const ItemRows& done) {
    const std::lock_guard lock(mutex_);
    if (failure_) return;
    if (auto taken = watch_.take(item, done); !taken.ok()) failure_ = taken.error();
  }
  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(error);
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return failure_.has_value();
  }

  // Until nothing is left and every other rank has sent what it had. Only then is any of them told:
  // one that knew it earlier would ask for work of the next run in the middle of this one.
  void answer() {
    std::vector<int> idle;
    while (static_cast<int>(idle.size()) < ranks_.count() - 1 && !failed()) {
      if (is_raised(watch_.cancel)) return fail(interrupted());
      const auto message = ranks_.receive();
      if (!message) {
        std::this_thread::sleep_for(kPoll);
        continue;
      }
      if (auto handled = handle(*message); !handled.ok()) return fail(handled.error());
      const EvalItem* item = next();
      if (failed()) return;
      if (item == nullptr) {
        idle.push_back(message->rank);
      } else {
        ranks_.send(message->rank, order(*item));
      }
    }
    if (!failed()) end_all(ranks_, idle);
  }

  static std::string order(const EvalItem& item) {
    return packed({{"kind", "item"},
                   {"item", item.number},
                   {"hash", item.hash},
                   {"variants", item.variants}});
  }

  Result<void> handle(const RankMessage& message) {
    RESTKV_ASSIGN(const Json json, unpacked(message.bytes));
    const auto kind = json["kind"].get<std::string>();
    if (kind == "ready") {
      if (json.contains("identity") && json["identity"] == plan_.identity) return {};
      return Error{ErrorCode::kInvalidArgument,
                   "rank " + std::to_string(message.rank) +
                       " has another model, other variants, other kernels (--kernels makes them "
                       "the same) or another version or build of restkv than rank 0"};
    }
    if (kind == "failed" && json.contains("message") && json["message"].is_string()) {
      return Error{ErrorCode::kInvalidArgument, "rank " + std::to_string(message.rank) + ": " +
                                                    json["message"].get<std::string>()};
    }
    if (kind != "rows" || !json.contains("item")) return broken();
    for (const EvalItem& item : plan_.items) {
      if (json["item"] != item.number) continue;
      RESTKV_ASSIGN(const ItemRows done, rows_of(json, item));
      take(item, done);
      return {};
    }
    return broken();
  }

  Ranks& ranks_;
  const EvalPlan& plan_;
  const SharedRunWatch& watch_;
  std::mutex mutex_;
  std::size_t next_ = 0;  // of the plan's items
  std::optional<Error> failure_;
};

}  // namespace

Result<void> lead_run(Ranks& ranks, const EvalPlan& plan, const RunItem& run_item,
                      const SharedRunWatch& watch) {
  return Leader(ranks, plan, watch).run(run_item);
}

void end_run(Ranks& ranks) {
  std::vector<int> idle;
  while (static_cast<int>(idle.size()) < ranks.count() - 1) {
    const auto message = ranks.receive();
    if (!message) {
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    idle.push_back(message->rank);
  }
  end_all(ranks, idle);
}

Result<void> follow_run(Ranks& ranks, const EvalPlan& plan, const RunItem& run_item,
                        const std::atomic<bool>* cancel) {
  ranks.send(0, packed({{"kind", "ready"}, {"identity", plan.identity}}));
  for (;;) {
    if (is_raised(cancel)) return interrupted();
    const auto message = ranks.receive();
    if (!message) {
      std::this_thread::sleep_for(kPoll);
      continue;
    }
    RESTKV_ASSIGN(const Json order, unpacked(message->bytes));
    if (order["kind"] == "end") return {};
    if (order["kind"] != "item" || !order.contains("item") || !order.contains("hash") ||
        !order.contains("variants") || !is_list(order["variants"], &Json::is_number_unsigned)) {
      return broken();
    }
    const EvalItem* found = nullptr;
    for (const EvalItem& item : plan.items) {
      if (order["item"] == item.number && order["hash"] == item.hash) found = &item;
    }
    if (found == nullptr) {
      return Error{ErrorCode::kInvalidArgument,
                   "rank " + std::to_string(ranks.rank()) +
                       " has other prompts than rank 0: the same files, options and version of "
                       "restkv are needed everywhere"};
    }
    EvalItem item = *found;
    item.variants = order["variants"].get<std::vector<std::size_t>>();
    for (const std::size_t variant : item.variants) {
      if (std::ranges::find(found->variants, variant) == found->variants.end()) return broken();
    }
    RESTKV_ASSIGN(const ItemRows done, run_item(item));
    ranks.send(0, packed(rows_message(item, done)));
  }
}

void decline_run(Ranks& ranks, const Error& error, const std::atomic<bool>* cancel) {
  ranks.send(0, packed({{"kind", "failed"}, {"message", error.message}}));
  while (!is_raised(cancel) && !ranks.receive()) std::this_thread::sleep_for(kPoll);
}

}  // namespace restkv
