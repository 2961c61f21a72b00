// Any bytes as a GGUF file: refused with a message of one line, or read exactly as ggml reads it;
// then the keys of its vocabulary are checked.

#include <ggml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "support/gguf_walk.h"
#include "tensor/gguf_file.h"
#include "tensor/vocabulary_check.h"

namespace {

void silence(ggml_log_level /*level*/, const char* /*text*/, void* /*user*/) {}

void demand(bool good, const std::string& complaint) {
  if (good) return;
  std::fprintf(stderr, "gguf_fuzz: %s\n", complaint.c_str());
  std::abort();
}

void demand_one_line(const restkv::Error& error) {
  demand(error.message.starts_with("fuzz: "), "names no file: " + error.message);
  demand(std::ranges::all_of(error.message, [](char c) { return c >= 0x20 && c <= 0x7e; }),
         "is not one printable line: " + error.message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ggml_log_set(silence, nullptr);
  // A copy of exactly this size: a sanitizer sees the first byte behind it.
  const auto copy = std::make_unique<std::byte[]>(size);
  std::copy_n(reinterpret_cast<const std::byte*>(data), size, copy.get());
  const std::span<const std::byte> bytes(copy.get(), size);
  const auto file = restkv::GgufFile::from_memory(bytes, "fuzz");
  if (!file.ok()) {
    demand_one_line(file.error());
    return 0;
  }
  const std::string difference = restkv::GgufWalk::difference(bytes, **file);
  demand(difference.empty(), "not as ggml reads it: " + difference);
  const auto checked = restkv::check_vocabulary_keys(**file);
  if (!checked.ok()) demand_one_line(checked.error());
  return 0;
}
