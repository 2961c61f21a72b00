#include "eval/result_store.h"

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

namespace restkv {
namespace {

constexpr std::size_t kKeyColumns = 6;
constexpr int kApplication = 0x52534B56;  // "RSKV", in the file's header
constexpr int kVersion = 2;
// What version 1 did not have yet: the last columns.
constexpr std::size_t kSecondVersionColumns = 3;
constexpr int kBusyMs = 10'000;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct FinishStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinishStatement>;

// The first n columns, each written by `text`, with commas between.
template <typename Text>
std::string column_list(std::size_t n, const Text& text) {
  std::string list;
  for (const EvalColumn& column : eval_columns().first(n)) {
    list += (list.empty() ? "" : ", ") + text(column);
  }
  return list;
}

std::string name_of(const EvalColumn& column) { return column.name; }

std::string declaration_of(const EvalColumn& column) {
  constexpr const char* kTypes[] = {"TEXT", "INTEGER", "REAL"};
  return std::string(column.name) + " " + kTypes[column.member.index()] + " NOT NULL";
}

std::string set_version() { return "PRAGMA user_version = " + std::to_string(kVersion) + ";"; }

void bind_text(sqlite3_stmt* statement, int at, const std::string& text) {
  sqlite3_bind_text64(statement, at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

// The row outlives the statement's next step.
void bind(sqlite3_stmt* statement, int at, const EvalRow& row, const EvalColumn& column) {
  if (const auto* const text = std::get_if<0>(&column.member)) {
    bind_text(statement, at, row.**text);
  } else if (const auto* const whole = std::get_if<1>(&column.member)) {
    sqlite3_bind_int64(statement, at, row.**whole);
  } else {
    sqlite3_bind_double(statement, at, row.**std::get_if<2>(&column.member));
  }
}

std::string text_at(sqlite3_stmt* statement, int at) {
  const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(statement, at));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, at));
  return text == nullptr ? "" : std::string(text, size);
}

void read(sqlite3_stmt* statement, int at, EvalRow& row, const EvalColumn& column) {
  if (const auto* const text = std::get_if<0>(&column.member)) {
    row.** text = text_at(statement, at);
  } else if (const auto* const whole = std::get_if<1>(&column.member)) {
    row.** whole = sqlite3_column_int64(statement, at);
  } else {
    row.**std::get_if<2>(&column.member) = sqlite3_column_double(statement, at);
  }
}

}  // namespace

struct ResultStore::State {
  std::string path;
  Database database;
  // A file of version 1 that cannot be changed: it is read as if it had been, with zeros.
  bool lacks_new_columns = false;

  [[nodiscard]] Error failure(int code) const {
    const int primary = code & 0xFF;
    if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT) {
      return {ErrorCode::kCorrupt, path + ": is no database of results, or a broken one"};
    }
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
      return {ErrorCode::kIo, path + ": is locked by another program"};
    }
    if (primary == SQLITE_FULL) return {ErrorCode::kIo, path + ": the disk is full"};
    if (primary == SQLITE_IOERR) {
      return {ErrorCode::kIo, path +
                                  ": cannot be read or written further: a limit on the size of "
                                  "files, or a fault of the disk"};
    }
    return {ErrorCode::kIo,
            path + ": " + (database ? sqlite3_errmsg(database.get()) : sqlite3_errstr(code))};
  }

  [[nodiscard]] Result<void> execute(const std::string& sql) const {
    const int code = sqlite3_exec(database.get(), sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(code);
    return {};
  }

  [[nodiscard]] Result<Statement> prepare(const std::string& sql) const {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v2(database.get(), sql.c_str(), -1, &statement, nullptr);
    if (code != SQLITE_OK) return failure(code);
    return Statement(statement);
  }

  // Calls `row` for each row of the answer.
  template <typename Row>
  [[nodiscard]] Result<void> each(sqlite3_stmt* statement, const Row& row) const {
    int code = sqlite3_step(statement);
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) row();
    if (code != SQLITE_DONE) return failure(code);
    return {};
  }

  [[nodiscard]] Result<int> number(const std::string& sql) const {
    RESTKV_ASSIGN(const Statement statement, prepare(sql));
    int value = 0;
    RESTKV_TRY(each(statement.get(), [&] { value = sqlite3_column_int(statement.get(), 0); }));
    return value;
  }

  // Whether the file is one of ours, of this version; makes an empty one ours.
  enum class Fresh : std::uint8_t { kMake, kRefuse };
  [[nodiscard]] Result<void> check(Fresh fresh) {
    RESTKV_ASSIGN(const int tables, number("SELECT count(*) FROM sqlite_master"));
    RESTKV_ASSIGN(const int application, number("PRAGMA application_id"));
    RESTKV_ASSIGN(const int version, number("PRAGMA user_version"));
    if (tables == 0 && application == 0 && fresh == Fresh::kMake) return make();
    if (application != kApplication) {
      return Error{ErrorCode::kCorrupt, path + ": is no database of results"};
    }
    if (version == 1) {
      lacks_new_columns = sqlite3_db_readonly(database.get(), "main") == 1;
      return lacks_new_columns ? Result<void>{} : bring_up_to_date();
    }
    if (version != kVersion) {
      return Error{ErrorCode::kUnsupported, path + ": is of version " + std::to_string(version) +
                                                "; this program reads version " +
                                                std::to_string(kVersion)};
    }
    return {};
  }

  [[nodiscard]] Result<void> make() const {
    const std::string key = column_list(kKeyColumns, name_of);
    return execute(
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS results (" +
        column_list(eval_columns().size(), declaration_of) + ", UNIQUE (" + key +
        "));"
        "CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, pieces TEXT NOT "
        "NULL);"
        "PRAGMA application_id = " +
        std::to_string(kApplication) + ";" + set_version() + "COMMIT;");
  }

  // From version 1: rows of then have zeros in the new columns. Another program may do it
  // meanwhile.
  [[nodiscard]] Result<void> bring_up_to_date() const {
    RESTKV_TRY(execute("BEGIN IMMEDIATE"));
    RESTKV_ASSIGN(const int version, number("PRAGMA user_version"));
    std::string sql;
    if (version == 1) {
      for (const EvalColumn& column : eval_columns().last(kSecondVersionColumns)) {
        sql += "ALTER TABLE results ADD COLUMN " + declaration_of(column) + " DEFAULT 0;";
      }
      sql += set_version();
    }
    auto changed = execute(sql + "COMMIT");
    if (!changed.ok()) (void)execute("ROLLBACK");
    return changed;
  }

  static Result<std::unique_ptr<State>> connect(const std::string& path, int flags, Fresh fresh) {
    auto state = std::make_unique<State>();
    state->path = path;
    sqlite3* database = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &database, flags, nullptr);
    state->database.reset(database);
    if (code != SQLITE_OK) return state->failure(code);
    sqlite3_busy_timeout(database, kBusyMs);
    RESTKV_TRY(state->check(fresh));
    return state;
  }

  [[nodiscard]] Result<void> insert(std::span<const EvalRow> rows, const EvalPrompt* prompt) const {
    const auto columns = eval_columns();
    RESTKV_ASSIGN(
        const Statement statement,
        prepare("INSERT OR IGNORE INTO results VALUES (" +
                column_list(columns.size(), [](const auto&) { return std::string("?"); }) + ")"));
    for (const EvalRow& row : rows) {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        bind(statement.get(), static_cast<int>(i) + 1, row, columns[i]);
      }
      RESTKV_TRY(each(statement.get(), [] {}));
      sqlite3_reset(statement.get());
    }
    if (prompt == nullptr) return {};
    RESTKV_ASSIGN(const Statement text, prepare("INSERT OR IGNORE INTO prompts VALUES (?, ?)"));
    const std::string pieces =
        nlohmann::json(prompt->pieces)
            .dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
    bind_text(text.get(), 1, prompt->hash);
    bind_text(text.get(), 2, pieces);
    return each(text.get(), [] {});
  }
};

ResultStore::ResultStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
ResultStore::ResultStore(ResultStore&&) noexcept = default;
ResultStore& ResultStore::operator=(ResultStore&&) noexcept = default;
ResultStore::~ResultStore() = default;

Result<ResultStore> ResultStore::open_or_make(const std::string& path) {
  RESTKV_ASSIGN(auto state, State::connect(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                           State::Fresh::kMake));
  return ResultStore(std::move(state));
}

Result<ResultStore> ResultStore::open(const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown)) {
    return Error{ErrorCode::kNotFound, path + ": there is no such file"};
  }
  // Reading may have to undo what a killed program left half written.
  const auto permissions = std::filesystem::status(path, unknown).permissions();
  const bool writable =
      (permissions & std::filesystem::perms::owner_write) != std::filesystem::perms::none;
  RESTKV_ASSIGN(auto state,
                State::connect(path, writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY,
                               State::Fresh::kRefuse));
  return ResultStore(std::move(state));
}

Result<std::map<std::string, std::string>> ResultStore::finished(const EvalRow& key) const {
  RESTKV_ASSIGN(const Statement statement,
                state_->prepare("SELECT variant_json, prompt_hash FROM results WHERE fingerprint = "
                                "? AND task = ? AND length = ? AND sample = ? AND seed = ?"));
  for (std::size_t i = 0; i + 1 < kKeyColumns; ++i) {
    bind(statement.get(), static_cast<int>(i) + 1, key, eval_columns()[i]);
  }
  std::map<std::string, std::string> found;
  RESTKV_TRY(state_->each(statement.get(), [&] {
    found.emplace(text_at(statement.get(), 0), text_at(statement.get(), 1));
  }));
  return found;
}

Result<void> ResultStore::add(std::span<const EvalRow> rows, const EvalPrompt* prompt) {
  RESTKV_TRY(state_->execute("BEGIN IMMEDIATE"));
  auto added = state_->insert(rows, prompt);
  if (added.ok()) added = state_->execute("COMMIT");
  if (added.ok()) return {};
  // A failed COMMIT can leave the transaction open; after a full disk there may be none.
  (void)state_->execute("ROLLBACK");
  return added.error();
}

Result<std::vector<EvalRow>> ResultStore::rows() const {
  const auto columns = eval_columns();
  const auto* const first_new = columns.data() + columns.size() - kSecondVersionColumns;
  const auto selected = [&](const EvalColumn& column) {
    return state_->lacks_new_columns && &column >= first_new ? std::string("0") : name_of(column);
  };
  RESTKV_ASSIGN(const Statement statement,
                state_->prepare("SELECT " + column_list(columns.size(), selected) +
                                " FROM results ORDER BY " + column_list(kKeyColumns, name_of)));
  std::vector<EvalRow> rows;
  RESTKV_TRY(state_->each(statement.get(), [&] {
    EvalRow& row = rows.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      read(statement.get(), static_cast<int>(i), row, columns[i]);
    }
  }));
  return rows;
}

Result<bool> ResultStore::has_prompt(const std::string& hash) const {
  RESTKV_ASSIGN(const Statement statement, state_->prepare("SELECT 1 FROM prompts WHERE hash = ?"));
  bind_text(statement.get(), 1, hash);
  bool found = false;
  RESTKV_TRY(state_->each(statement.get(), [&] { found = true; }));
  return found;
}

Result<std::map<std::string, EvalPrompt>> ResultStore::prompts() const {
  RESTKV_ASSIGN(const Statement statement, state_->prepare("SELECT hash, pieces FROM prompts"));
  std::map<std::string, EvalPrompt> found;
  bool broken = false;
  RESTKV_TRY(state_->each(statement.get(), [&] {
    EvalPrompt prompt{.hash = text_at(statement.get(), 0), .pieces = {}};
    const auto pieces =
        nlohmann::json::parse(text_at(statement.get(), 1), nullptr, /*allow_exceptions=*/false);
    broken |= !pieces.is_array();
    for (const auto& piece : pieces) {
      if (!piece.is_string()) {
        broken = true;
      } else {
        prompt.pieces.push_back(piece.get<std::string>());
      }
    }
    found.emplace(prompt.hash, std::move(prompt));
  }));
  if (broken) return Error{ErrorCode::kCorrupt, state_->path + ": a prompt's text is broken"};
  return found;
}

}  // namespace restkv
