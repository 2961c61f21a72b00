// How much of dense attention do the patterns of sparse prefill catch? Over all layers and query
// heads of a model, on passages of a text: each pattern chooses from a layer's queries and keys as
// it would while a prompt is read, and what dense attention pays to the chosen rows is added up.
// What the engine reads densely whatever the pattern (the newest queries) is not counted; the last
// layer, of which it needs no others, counts as the rest do.
//
//   bench_pattern_recall [-m MODEL] -f TEXT [--patterns LIST] [--contexts LIST] [--passages N]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/ranks.h"
#include "common.h"
#include "eval/statistics.h"
#include "kernels/kernels.h"
#include "passages.h"
#include "restkv/prefill_attention.h"
#include "sparse/pattern.h"

namespace restkv {
namespace {

struct Options {
  PassageOptions text = {.common = {}, .file = {}, .contexts = {8192}};
  std::string patterns = "xattention,vertical-slash,tri-shape";
  std::size_t passages = 4;
};

struct Pattern {
  std::string name;  // with its options
  const PatternInfo* info = nullptr;
  std::unique_ptr<PrefillPattern> made;
};

// Of one query head of one layer, over the queries of the blocks that are read in part.
struct Caught {
  double attention = 0;  // share of it, mean over the queries
  double rows = 0;       // rows read of those seen
};

// One layer as all queries of a passage see it.
class Layer {
 public:
  Layer(const LayerObservation& layer, const KernelTable& kernels, const Threads& threads)
      : layer_(layer),
        kernels_(kernels),
        threads_(threads),
        n_head_(static_cast<std::size_t>(layer.n_head)),
        dim_(static_cast<std::size_t>(layer.head_dim)),
        tokens_(layer.window_queries.rows),
        q_(tokens_ * n_head_ * dim_) {
    for (std::size_t h = 0; h < n_head_; ++h) {
      const View2<const float> plane = layer.window_queries.plane(h);
      for (std::size_t i = 0; i < tokens_; ++i) {
        std::ranges::copy(plane.row(i), q_.data() + (i * n_head_ + h) * dim_);
      }
    }
  }

  // [query heads]
  [[nodiscard]] std::vector<Caught> caught(const Pattern& pattern, std::size_t blocks) const {
    const std::size_t first =
        pattern.info->needs == PatternNeeds::kLastQueries ? tokens_ - kPatternLastQueries : 0;
    const auto choice = pattern.made->choose({.tokens = tokens_,
                                              .n_head = n_head_,
                                              .head_dim = dim_,
                                              .q = q_.data() + first * n_head_ * dim_,
                                              .token_stride = n_head_ * dim_,
                                              .first = first,
                                              .count = tokens_ - first,
                                              .heads = layer_.heads,
                                              .rule = layer_.attention,
                                              .kernels = &kernels_,
                                              .threads = &threads_});
    std::vector<Caught> heads(n_head_);
    threads_.for_each(n_head_, [&](std::size_t h) { heads[h] = head(*choice, h, blocks); });
    return heads;
  }

 private:
  [[nodiscard]] Caught head(const RowChoice& choice, std::size_t h, std::size_t blocks) const {
    const HeadRows& rows = layer_.heads[h * static_cast<std::size_t>(layer_.n_kv_head) / n_head_];
    const std::vector<std::uint32_t> begin(kPatternBlock, 0);
    std::vector<std::uint32_t> end(kPatternBlock);
    std::vector<float> probabilities(kPatternBlock * tokens_);
    std::vector<RowSpan> listed;
    listed.reserve(tokens_ / 2 + 2);
    Caught sum;
    double seen = 0;
    for (std::size_t block = 0; block < blocks; ++block) {
      const std::size_t first = block * kPatternBlock;
      const std::size_t n = first + kPatternBlock;
      for (std::size_t i = 0; i < kPatternBlock; ++i) {
        end[i] = static_cast<std::uint32_t>(first + i + 1);
      }
      kernels_.window_attention({.q = layer_.window_queries.plane(h).data + first * dim_,
                                 .n_query = kPatternBlock,
                                 .head_dim = dim_,
                                 .keys = {rows.keys, rows.type},
                                 .rows = n,
                                 .row_begin = begin.data(),
                                 .row_end = end.data(),
                                 .rule = layer_.attention,
                                 .out = probabilities.data()});
      choice.rows(choice.per_head() ? h : 0, block, listed);
      for (std::size_t i = 0; i < kPatternBlock; ++i) {
        const float* const row = probabilities.data() + i * n;
        for (const RowSpan& span : listed) {
          const std::size_t to = std::min<std::size_t>(span.end, end[i]);
          for (std::size_t j = span.begin; j < to; ++j) sum.attention += row[j];
          if (to > span.begin) sum.rows += static_cast<double>(to - span.begin);
        }
        seen += end[i];
      }
    }
    return {.attention = sum.attention / static_cast<double>(blocks * kPatternBlock),
            .rows = sum.rows / seen};
  }

  const LayerObservation& layer_;
  const KernelTable& kernels_;
  const Threads& threads_;
  std::size_t n_head_, dim_, tokens_;
  std::vector<float> q_;  // [tokens, query heads, dim]
};

// What one pattern caught of one length: [passages][layers * query heads].
using Cell = std::vector<std::vector<Caught>>;

Result<std::vector<Pattern>> parse_patterns(const std::string& list) {
  std::vector<Pattern> patterns;
  for (const std::string& text : split_list(list)) {
    RESTKV_ASSIGN(const PrefillAttention parsed, parse_prefill_attention(text));
    Pattern pattern{.name = text, .info = nullptr, .made = nullptr};
    RESTKV_ASSIGN(pattern.info, pattern_by_name(parsed.pattern));
    RESTKV_ASSIGN(const ParamValues values,
                  ParamValues::parse(pattern.info->name, pattern.info->params, parsed.options));
    if (pattern.info->make == nullptr) {
      return Error{ErrorCode::kInvalidArgument, text + ": dense attention catches everything"};
    }
    pattern.made = pattern.info->make(values);
    patterns.push_back(std::move(pattern));
  }
  return patterns;
}

// Blocks of queries that the engine reads in part.
std::size_t sparse_blocks(const Pattern& pattern, std::size_t tokens) {
  if (tokens <= pattern.made->dense_up_to()) return 0;
  const std::size_t tail = std::max(kLeastDenseTail, pattern.made->dense_tail());
  return tokens > tail ? (tokens - tail) / kPatternBlock : 0;
}

Result<void> read_passage(const Session& session, std::span<const Token> passage,
                          const std::vector<Pattern>& patterns, PrefillOptions prefill,
                          std::vector<Cell>& cells) {
  const Threads threads(session.engine->threads());
  const KernelTable& kernels = **table_by_name(session.engine->kernels());
  for (Cell& cell : cells) cell.emplace_back();
  prefill.observed_queries = passage.size();
  prefill.on_layer = [&](const LayerObservation& observed) {
    if (observed.attention.sliding_window > 0) return;
    const Layer layer(observed, kernels, threads);
    for (std::size_t p = 0; p < patterns.size(); ++p) {
      const std::size_t blocks = sparse_blocks(patterns[p], passage.size());
      if (blocks == 0) continue;
      std::ranges::copy(layer.caught(patterns[p], blocks), std::back_inserter(cells[p].back()));
    }
  };
  return observe_text(*session.engine, passage, prefill);
}

void print_row(const std::string& context, const Pattern& pattern, const Cell& cell) {
  if (cell.front().empty()) {
    std::printf("| %s | `%s` | read densely | | |\n", context.c_str(), pattern.name.c_str());
    return;
  }
  std::vector<double> rows;
  std::vector<double> attention;
  std::vector<double> of_heads(cell.front().size());
  for (const std::vector<Caught>& passage : cell) {
    double read = 0;
    double held = 0;
    for (std::size_t h = 0; h < passage.size(); ++h) {
      read += passage[h].rows;
      held += passage[h].attention;
      of_heads[h] += passage[h].attention / static_cast<double>(cell.size());
    }
    rows.push_back(read / static_cast<double>(passage.size()));
    attention.push_back(held / static_cast<double>(passage.size()));
  }
  std::ranges::sort(of_heads);
  const auto [least, most] = std::ranges::minmax(attention);
  std::printf("| %s | `%s` | %.1f | %.1f (%.1f-%.1f) | %.1f |\n", context.c_str(),
              pattern.name.c_str(), 100 * mean(rows), 100 * mean(attention), 100 * least,
              100 * most, 100 * of_heads[of_heads.size() / 10]);
}

Result<int> measure(const Options& options) {
  RESTKV_ASSIGN(const std::vector<Pattern> patterns, parse_patterns(options.patterns));
  const InterruptGuard interrupt;
  RESTKV_ASSIGN(const OpenedText text, open_text(options.text, interrupt.flag()));
  std::printf(
      "%s; %s.\n\n| tokens | pattern | rows read, %% | attention caught, %% (passages) | a tenth "
      "of "
      "the heads catch less than |\n|---|---|---|---|---|\n",
      text.name.c_str(), text.session.engine->model().name.c_str());
  PrefillOptions prefill;
  prefill.cancel = &interrupt.flag();
  for (const long long tokens : options.text.contexts) {
    const auto context = static_cast<std::size_t>(tokens);
    if (context * options.passages > text.tokens.size()) {
      return Error{ErrorCode::kInvalidArgument,
                   "the text of " + std::to_string(text.tokens.size()) + " tokens has no " +
                       std::to_string(options.passages) + " passages of " +
                       std::to_string(context) + " tokens"};
    }
    // Spread over the text.
    const std::size_t step =
        (text.tokens.size() - context) / std::max<std::size_t>(1, options.passages - 1);
    std::vector<std::size_t> begins;
    for (std::size_t i = 0; i < options.passages; ++i) begins.push_back(i * step);
    std::vector<Cell> cells(patterns.size());
    RESTKV_TRY(for_each_passage(text.tokens, begins, context, [&](std::span<const Token> passage) {
      return read_passage(text.session, passage, patterns, prefill, cells);
    }));
    for (std::size_t p = 0; p < patterns.size(); ++p) {
      print_row(std::to_string(context) + " x " + std::to_string(options.passages), patterns[p],
                cells[p]);
    }
    std::fflush(stdout);
  }
  return 0;
}

int main_with(Arguments args) {
  Options options;
  FlagSet flags("usage: bench_pattern_recall -f TEXT");
  flags.begin_section("measurement");
  add_passage_flags(flags, options.text, kPatternLastQueries);
  flags.add_text({"--patterns"}, "LIST", "NAME[:OPTION=VALUE...], ... (all that leave rows out)",
                 &options.patterns, "");
  flags.add_integer({"--passages"}, "passages of each length (4)", 1, 1 << 20,
                    [&options](long long n) { options.passages = static_cast<std::size_t>(n); });
  add_model_flags(flags, options.text.common);
  if (const auto status = read_flags(flags, args, options.text.common.show_help)) return *status;
  return end_command(measure(options), nullptr);
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) { return restkv::run_program(restkv::main_with, argc, argv); }
