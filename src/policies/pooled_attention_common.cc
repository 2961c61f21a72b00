#include "policies/pooled_attention_common.h"

#include <algorithm>

#include "base/aligned.h"
#include "base/threads.h"
#include "policies/window_attention_common.h"

namespace restkv {

std::vector<std::size_t> pooled_window_attention(const LayerObservation& layer,
                                                 const ScoreRequest& request,
                                                 const SmoothingFilter& filter,
                                                 std::span<const std::span<float>> scores) {
  const WindowAttention window(layer, request, request.window);
  const Threads& threads = *request.threads;
  const auto n_head = static_cast<std::size_t>(layer.n_head);
  const auto group = static_cast<std::size_t>(layer.group());

  // Everything is allocated here: a worker must not throw.
  AlignedArray<float> sum_buffer(n_head * window.max_rows());
  const View2<float> sums(sum_buffer.data(), n_head, window.max_rows());
  const std::size_t workers = static_cast<std::size_t>(threads.count());
  std::vector<AlignedArray<float>> buffers(workers);
  for (auto& buffer : buffers) buffer.reserve(window.buffer_size());
  threads.for_each_worker(n_head, [&](std::size_t head, std::size_t worker) {
    const View2<const float> attention = window.probabilities(head, buffers[worker].span());
    const std::span<float> sum = sums.row(head).first(window.past(window.kv_head(head)));
    std::ranges::fill(sum, 0.0F);
    for (std::size_t i = 0; i < attention.rows; ++i) {
      const std::span<const float> row = attention.row(i);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += row[j];
    }
  });

  AlignedArray<float> means(window.max_rows());
  AlignedArray<double> scratch(smoothing_scratch(window.max_rows(), filter.width));
  std::vector<std::size_t> pasts;
  for (std::size_t h = 0; h < scores.size(); ++h) {
    std::ranges::fill(scores[h], 0.0F);
    const std::size_t past = window.past(h);
    pasts.push_back(past);
    if (past == 0) continue;
    over_group(request.group_score, sums, h, group, means.span().first(past));
    smooth(means.span().first(past), filter, scratch.span(), scores[h].first(past));
  }
  return pasts;
}

}  // namespace restkv
