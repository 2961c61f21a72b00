#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace restkv {

// A folder of this test process alone, empty at first and removed at its end. Every case is a
// process of its own and several run at once: a file with a fixed name in the temporary folder
// would be theirs together. A child that is forked without exec leaves the folder where it is.
const std::filesystem::path& process_folder();

// A file of that folder.
inline std::string process_file(std::string_view name) {
  return (process_folder() / name).string();
}

}  // namespace restkv
