#include "support/process_folder.h"

#include <unistd.h>

#include <system_error>

#include "base/check.h"

namespace restkv {
namespace {

class Folder {
 public:
  Folder() : owner_(::getpid()) {
    std::string name = (std::filesystem::temp_directory_path() / "restkv_test_XXXXXX").string();
    RESTKV_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code failed;
    if (owner_ == ::getpid()) std::filesystem::remove_all(path_, failed);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  pid_t owner_;
};

}  // namespace

const std::filesystem::path& process_folder() {
  static const Folder kFolder;
  return kFolder.path();
}

}  // namespace restkv
