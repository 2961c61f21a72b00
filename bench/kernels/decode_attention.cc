// How fast decode attends to a cache of pages of 16 rows, one thread: GB/s of rows read and GFLOPS
// of the two products, for a cache that lies in the processor's own caches, for one that follows on
// in memory of large pages, as cache/page_pool.h lays it out, and for one that lies anywhere in
// memory of small pages. What is lost between them is waiting for memory.
//   bench_decode_attention [TYPE|TYPE:TYPE]  groups of 1, 4, 7 and 8 query heads, the best of
//   several runs; TYPE of keys and values, or of keys and of values: f32, f16, bf16, q8_0, q4_0

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "base/aligned.h"
#include "common.h"
#include "kernels/kernels.h"

namespace {

using restkv::AlignedArray;
using restkv::best_seconds;
using restkv::DecodeAttentionArgs;
using restkv::KernelTable;
using restkv::kv_row_bytes;
using restkv::KvType;
using restkv::MemoryUse;
using restkv::PageView;
using restkv::random_floats;

constexpr std::size_t kPageRows = 16;
constexpr std::size_t kSegmentRows = 1024;

struct Place {
  const char* name;
  std::size_t rows;
  bool in_order = true;
  int repeats = 5;
};
constexpr Place kPlaces[] = {{.name = "in the caches", .rows = 1024, .repeats = 200},
                             {.name = "in order, large pages", .rows = 1 << 20},
                             {.name = "anywhere, small pages", .rows = 1 << 20, .in_order = false}};

struct Types {
  KvType keys;
  KvType values;
};

// "q8_0" is both, "q8_0:f16" keys and values.
std::optional<Types> types_by_name(std::string_view name) {
  const std::size_t colon = name.find(':');
  const auto keys = restkv::kv_type_by_name(name.substr(0, colon));
  const auto values =
      colon == std::string_view::npos ? keys : restkv::kv_type_by_name(name.substr(colon + 1));
  if (!keys || !values) return std::nullopt;
  return Types{.keys = *keys, .values = *values};
}

struct Cache {
  AlignedArray<std::byte> data;
  std::vector<PageView> pages;

  Cache(const KernelTable& kernels, const Place& place, const Types& types, std::size_t head_dim)
      : data(place.rows *
                 (kv_row_bytes(types.keys, head_dim) + kv_row_bytes(types.values, head_dim)),
             place.in_order ? MemoryUse::kLarge : MemoryUse::kPlain) {
    const std::size_t key_bytes = kPageRows * kv_row_bytes(types.keys, head_dim);
    const std::size_t value_bytes = kPageRows * kv_row_bytes(types.values, head_dim);
    const std::vector<float> page = random_floats(kPageRows * head_dim);
    std::vector<std::size_t> order(place.rows / kPageRows);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937 random(3);
    if (!place.in_order) std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t at : order) {
      std::byte* const keys = data.data() + at * (key_bytes + value_bytes);
      kernels.encode_row(types.keys, page.data(), keys, page.size());
      kernels.encode_row(types.values, page.data(), keys + key_bytes, page.size());
      pages.push_back({.keys = keys, .values = keys + key_bytes, .rows = kPageRows});
    }
  }
};

void time_cache(const KernelTable& kernels, const Place& place, const Types& types,
                std::size_t group, std::size_t head_dim) {
  const Cache cache(kernels, place, types, head_dim);
  const std::vector<float> q = random_floats(group * head_dim);
  std::vector<float> partial(restkv::decode_partial_size(group, head_dim));
  constexpr std::size_t kPages = kSegmentRows / kPageRows;
  const double seconds = best_seconds(place.repeats, [&] {
    for (std::size_t first = 0; first < cache.pages.size(); first += kPages) {
      kernels.decode_attention({.q = q.data(),
                                .group = group,
                                .head_dim = head_dim,
                                .pages = std::span(cache.pages).subspan(first, kPages),
                                .type_k = types.keys,
                                .type_v = types.values,
                                .rule = {.scale = 0.125F},
                                .partial = partial.data()});
    }
  });
  const auto bytes = static_cast<double>(cache.data.size());
  const double flops = 4.0 * static_cast<double>(place.rows * group * head_dim);
  std::printf("group %zu, head_dim %3zu, %6.1f MB %s: %5.1f GB/s, %5.1f GFLOPS\n", group, head_dim,
              bytes / 1e6, place.name, bytes / seconds / 1e9, flops / seconds / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  const KernelTable& kernels = restkv::kernels_to_time();
  const std::string_view wanted = argc > 1 ? argv[1] : "f16";
  const auto types = types_by_name(wanted);
  if (argc > 2 || !types) {
    std::fprintf(stderr,
                 "usage: bench_decode_attention [TYPE|TYPE:TYPE]\n"
                 "TYPE of keys and values, or of keys and of values: f32, f16, bf16, q8_0, q4_0\n");
    return 2;
  }
  std::printf("kernels %.*s, %.*s, one thread\n", static_cast<int>(kernels.name.size()),
              kernels.name.data(), static_cast<int>(wanted.size()), wanted.data());
  for (const std::size_t head_dim : {std::size_t{64}, std::size_t{128}}) {
    for (const std::size_t group : {1, 4, 7, 8}) {
      for (const Place& place : kPlaces) time_cache(kernels, place, *types, group, head_dim);
    }
  }
  return 0;
}
