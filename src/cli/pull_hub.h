#pragma once

// The first way to a model: one file from the hub over HTTP.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "cli/transfer.h"
#include "restkv/result.h"

namespace restkv {

struct HubRequest {
  std::string url;
  std::filesystem::path partial;  // grows; what it holds already is not asked for again
  std::uint64_t bytes = 0;        // size of the whole file
  std::chrono::milliseconds connect_timeout{3000};
};

// Makes `partial` hold all bytes; whether they are the right ones is not checked. After a failure
// what has come is kept for the next attempt, by this way or the other. A connection that breaks is
// taken up again as long as bytes keep coming. kNotFound: no connection, or the server refuses;
// kCorrupt: a file of another size; kIo; kCancelled.
Result<void> download_from_hub(const HubRequest& request, const TransferWatch& watch);

}  // namespace restkv
