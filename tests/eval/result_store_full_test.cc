// A disk that fills up while rows are written, as SQLite sees it: databases are opened through a
// file system of ours that can be told to have no room.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>

#include "eval/result_store.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

// The usual one but for writes. One at a time.
class NarrowDisk {
 public:
  NarrowDisk() : vfs_(*sqlite3_vfs_find(nullptr)) {
    usual_ = sqlite3_vfs_find(nullptr);
    room_ = kPlenty;
    vfs_.zName = "narrow";
    vfs_.xOpen = open;
    EXPECT_EQ(sqlite3_vfs_register(&vfs_, /*makeDflt=*/1), SQLITE_OK);
  }
  ~NarrowDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(usual_, /*makeDflt=*/1);
  }
  NarrowDisk(const NarrowDisk&) = delete;
  NarrowDisk& operator=(const NarrowDisk&) = delete;

  static constexpr int kPlenty = 1 << 30;
  // Bytes that may still be written.
  static void leave(int room) { room_ = room; }

 private:
  static int open(sqlite3_vfs* /*self*/, sqlite3_filename name, sqlite3_file* file, int flags,
                  int* out_flags) {
    const int code = usual_->xOpen(usual_, name, file, flags, out_flags);
    // Journals have methods of their own, and stay as they are.
    const bool database = (static_cast<unsigned>(flags) & SQLITE_OPEN_MAIN_DB) != 0;
    if (code != SQLITE_OK || !database) return code;
    methods_of_usual_ = file->pMethods;
    methods_ = *file->pMethods;
    methods_.xWrite = write;
    file->pMethods = &methods_;
    return code;
  }
  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 at) {
    if (size > room_) return SQLITE_FULL;
    room_ -= size;
    return methods_of_usual_->xWrite(file, bytes, size, at);
  }

  sqlite3_vfs vfs_;
  static inline sqlite3_vfs* usual_ = nullptr;
  static inline const sqlite3_io_methods* methods_of_usual_ = nullptr;
  static inline sqlite3_io_methods methods_ = {};
  static inline int room_ = 0;
};

std::vector<EvalRow> prompt_rows(int sample) {
  std::vector<EvalRow> rows(3);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].sample = std::to_string(sample);
    rows[i].variant_json = std::to_string(i);
    rows[i].prediction = std::string(3000, 'x');
  }
  return rows;
}

TEST(ResultStoreFull, IsSaidAndLosesNothing) {
  const NarrowDisk disk;
  const std::string path = process_file("full.db");
  // From no room at all to one that ends within the last pages, and to one that is enough.
  int full = 0;
  for (bool enough = false; !enough; ++full) {
    ASSERT_LT(full, 100);
    std::filesystem::remove(path);
    NarrowDisk::leave(NarrowDisk::kPlenty);
    auto store = ResultStore::open_or_make(path);
    ASSERT_TRUE(store.ok()) << store.error().message;
    ASSERT_TRUE(store->add(prompt_rows(0), nullptr).ok());
    NarrowDisk::leave(full * 2500);
    const auto added = store->add(prompt_rows(1), nullptr);
    NarrowDisk::leave(NarrowDisk::kPlenty);
    enough = added.ok();
    const auto rows = store->rows();
    ASSERT_TRUE(rows.ok()) << rows.error().message;
    EXPECT_EQ(rows->size(), enough ? 6U : 3U) << full;
    if (!enough) {
      EXPECT_EQ(added.error().code, ErrorCode::kIo);
      EXPECT_EQ(added.error().message, path + ": the disk is full");
    }
    // With room again the same store goes on.
    ASSERT_TRUE(store->add(prompt_rows(1), nullptr).ok());
    EXPECT_EQ(store->rows()->size(), 6U);
  }
  EXPECT_GT(full, 4);
}

}  // namespace
}  // namespace restkv
