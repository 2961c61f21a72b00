// Does block-sparse attention skip what it skips? Time of one block of 64 queries over 16384 keys
// when a share of the blocks of 128 keys is listed, over the time of dense attention and over the
// share. 1.00 in the last column is time in proportion to density.
//   bench_sparse_attention             every group size on one thread, the best of several runs

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "base/aligned.h"
#include "common.h"
#include "kernels/kernels.h"

namespace {

using restkv::AlignedArray;
using restkv::best_seconds;
using restkv::KernelTable;
using restkv::KvType;
using restkv::PrefillAttentionArgs;
using restkv::random_floats;
using restkv::RowSpan;

constexpr std::size_t kHeadDim = 64;
constexpr std::uint32_t kKeys = 16384;
constexpr std::uint32_t kBlock = 128;
constexpr int kRepeats = 15;

// Blocks of keys picked at random, and the last one, which holds the queries' own rows.
std::vector<RowSpan> listed_blocks(double share) {
  constexpr std::size_t kBlocks = kKeys / kBlock;
  std::vector<std::uint32_t> order(kBlocks - 1);
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(2);
  std::shuffle(order.begin(), order.end(), random);
  order.resize(static_cast<std::size_t>(std::lround(share * kBlocks)) - 1);
  order.push_back(kBlocks - 1);
  std::sort(order.begin(), order.end());
  std::vector<RowSpan> listed;
  for (const std::uint32_t block : order) {
    if (listed.empty() || listed.back().end != block * kBlock) {
      listed.push_back({.begin = block * kBlock, .end = block * kBlock});
    }
    listed.back().end += kBlock;
  }
  return listed;
}

void time_group(const KernelTable& kernels, std::size_t group) {
  constexpr std::size_t kQueries = restkv::kMaxQueryBlock;
  const std::vector<float> q = random_floats(kQueries * group * kHeadDim);
  const std::vector<float> rows = random_floats(std::size_t{kKeys} * kHeadDim);
  AlignedArray<std::byte> halves(rows.size() * 2);
  kernels.encode_row(KvType::kF16, rows.data(), halves.data(), rows.size());
  std::vector<float> out(q.size());
  AlignedArray<float> scratch(restkv::prefill_attention_scratch(group, kHeadDim));
  std::vector<std::uint32_t> begin(kQueries, 0);
  std::vector<std::uint32_t> end(kQueries);
  for (std::uint32_t i = 0; i < kQueries; ++i) end[i] = kKeys - kQueries + i + 1;
  const PrefillAttentionArgs block = {.q = q.data(),
                                      .out = out.data(),
                                      .token_stride = group * kHeadDim,
                                      .n_query = kQueries,
                                      .group = group,
                                      .head_dim = kHeadDim,
                                      .keys = {halves.data(), KvType::kF16},
                                      .values = {halves.data(), KvType::kF16},
                                      .row_begin = begin.data(),
                                      .row_end = end.data(),
                                      .rule = {.scale = 0.125F},
                                      .scratch = scratch.data()};
  const double dense = best_seconds(kRepeats, [&] { kernels.prefill_attention(block); });
  std::printf("group %zu, dense: %.2f ms\n", group, dense * 1e3);
  for (const double share : {1.0, 0.5, 0.25, 0.1}) {
    const std::vector<RowSpan> listed = listed_blocks(share);
    std::size_t keys = 0;
    for (const RowSpan& span : listed) keys += span.end - span.begin;
    const double density = static_cast<double>(keys) / kKeys;
    const double seconds = best_seconds(
        kRepeats, [&] { kernels.sparse_attention({.block = block, .listed = listed}); });
    std::printf("  density %5.3f: %.2f ms, %.3f of dense, %.2f of the share\n", density,
                seconds * 1e3, seconds / dense, seconds / dense / density);
  }
}

}  // namespace

int main() {
  const KernelTable& kernels = restkv::kernels_to_time();
  std::printf("kernels %.*s, 64 queries, %u keys of %zu in f16, blocks of %u\n",
              static_cast<int>(kernels.name.size()), kernels.name.data(), kKeys, kHeadDim, kBlock);
  for (const std::size_t group : {std::size_t{1}, std::size_t{4}, std::size_t{7}}) {
    time_group(kernels, group);
  }
  return 0;
}
