#include "cli/bench_row.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "cli/questions.h"
#include "engine/result_labels.h"

namespace restkv {
namespace {

std::string number_text(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.6f", value);
  return buffer;
}

std::vector<double> as_numbers(const std::vector<std::uint64_t>& values) {
  return {values.begin(), values.end()};
}

std::string whole(double value) {
  return std::to_string(static_cast<std::uint64_t>(std::llround(value)));
}

std::string with_options(const std::string& name,
                         const std::vector<ParamValues::Assignment>& options) {
  std::string text = name;
  for (const auto& [option, value] : options) text += ":" + option + "=" + value;
  return text;
}

double mean_seconds(const BenchRow& row) { return mean_of(as_numbers(row.samples_ns)) / 1e9; }

void add_machine_fields(const BenchRow& row, std::vector<Field>& fields) {
  if (!row.machine) return;
  const auto number = [&](std::string_view name, double value) {
    fields.push_back({name, FieldKind::kNumber, number_text(value)});
  };
  number("machine_gflops", row.machine->flops / 1e9);
  number("machine_product_gflops", row.machine->product_flops / 1e9);
  number("machine_gbps", row.machine->bytes_per_s / 1e9);
  const LimitShare share = *limit_share(row);
  fields.push_back({"limit", FieldKind::kText, std::string(share.limit)});
  number("limit_share", share.share);
}

}  // namespace

double mean_of(const std::vector<double>& numbers) {
  if (numbers.empty()) return 0;
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

double deviation_of(const std::vector<double>& numbers) {
  if (numbers.size() < 2) return 0;
  const double mean = mean_of(numbers);
  double squares = 0;
  for (const double number : numbers) squares += (number - mean) * (number - mean);
  return std::sqrt(squares / static_cast<double>(numbers.size() - 1));
}

std::vector<double> sample_rates(const BenchRow& row) {
  const auto tokens = static_cast<double>(row.test.n_prompt + row.test.n_gen);
  std::vector<double> rates;
  for (const std::uint64_t ns : row.samples_ns) {
    rates.push_back(tokens * 1e9 / static_cast<double>(std::max<std::uint64_t>(ns, 1)));
  }
  return rates;
}

std::string test_name(const BenchRow& row) {
  std::string name;
  if (row.test.n_prompt > 0) name += "pp" + std::to_string(row.test.n_prompt);
  if (row.test.n_gen > 0) {
    name += std::string(name.empty() ? "" : "+") + "tg" + std::to_string(row.test.n_gen);
  }
  if (row.test.n_depth > 0) name += " @ d" + std::to_string(row.test.n_depth);
  return name;
}

std::string policy_text(const KvOptions& options) {
  return with_options(options.policy, options.policy_options);
}
std::string allocator_text(const KvOptions& options) {
  return with_options(options.allocator, options.allocator_options);
}

std::string decode_text(const KvOptions& options) {
  const DecodeOptions& decode = options.decode;
  return with_options(decode.method, decode.method_options) +
         (decode.budget ? " " + decode.budget->text() : "");
}
std::string prefill_text(const PrefillAttention& attention) {
  return with_options(attention.pattern, attention.options);
}

std::optional<LimitShare> limit_share(const BenchRow& row) {
  if (!row.machine) return std::nullopt;
  // A prompt and what is generated after it each meet their own limit.
  double best_seconds = 0;
  double flops_seconds = 0;
  for (const PhaseWork& phase : {row.work.prefill, row.work.decode}) {
    const double by_flops = phase.product_flops / row.machine->product_flops +
                            phase.attention_flops / row.machine->flops;
    const double by_bytes = phase.bytes / row.machine->bytes_per_s;
    best_seconds += std::max(by_flops, by_bytes);
    if (by_flops > by_bytes) flops_seconds += by_flops;
  }
  const double seconds = mean_seconds(row);
  return LimitShare{.limit = flops_seconds * 2 > best_seconds ? "flops" : "bandwidth",
                    .share = seconds > 0 ? best_seconds / seconds : 0};
}

std::vector<Field> fields_of(const BenchRow& row) {
  const std::vector<double> ns = as_numbers(row.samples_ns);
  const std::vector<double> rates = sample_rates(row);
  const double seconds = mean_seconds(row);
  std::vector<Field> fields;
  const auto text = [&](std::string_view name, std::string_view value) {
    fields.push_back({name, FieldKind::kText, std::string(value)});
  };
  const auto integer = [&](std::string_view name, std::size_t value) {
    fields.push_back({name, FieldKind::kInteger, std::to_string(value)});
  };
  const auto number = [&](std::string_view name, double value) {
    fields.push_back({name, FieldKind::kNumber, number_text(value)});
  };
  const auto yes = [&](std::string_view name, bool value) {
    fields.push_back({name, FieldKind::kBool, value ? "1" : "0"});
  };
  const KvOptions& kv = row.test.kv;
  text("cpu_info", row.cpu_info);
  text("backends", "CPU");
  text("model_filename", row.model.path);
  text("model_type", row.model_type);
  integer("model_size", row.model.weights.all_bytes);
  integer("model_n_params", row.model.weights.all);
  integer("n_batch", row.test.n_batch);
  integer("n_ubatch", row.test.n_batch);
  integer("n_threads", static_cast<std::size_t>(row.test.n_threads));
  text("type_k", kv_type_name(kv.type_k));
  text("type_v", kv_type_name(kv.type_v));
  text("kv_policy", policy_text(kv));
  text("kv_budget", row.kv_budget);
  text("kv_alloc", allocator_text(kv));
  text("kv_schedule", kv.schedule.text());
  // A prompt is read whole, as a text with its question is, and then compressed.
  text("kv_mode", query_mode_name(QueryMode::kAware));
  yes("approximation", is_approximation(kv.policy, kv.schedule.text()));
  text("kv_granularity", granularity_name(kv.granularity));
  text("kv_group", group_score_name(kv.group_score));
  integer("kv_window", static_cast<std::size_t>(kv.window));
  integer("kv_sink", static_cast<std::size_t>(kv.sinks));
  text("kv_protect", kv.protect == Protect::kPaper ? "paper" : "default");
  text("prefill", prefill_text(row.test.prefill));
  fields.push_back({"prefill_density", FieldKind::kNumber,
                    row.prefill_density.empty() ? "" : number_text(mean_of(row.prefill_density))});
  text("decode_attn", with_options(kv.decode.method, kv.decode.method_options));
  text("decode_budget", kv.decode.budget ? kv.decode.budget->text() : "");
  text("decode_table", row.test.kv.decode.table != nullptr ? row.decode_table : "");
  text("fill", row.test.n_depth > 0 ? bench_fill_name(row.fill) : "");
  integer("seed", kv.seed);
  text("isa", row.isa);
  text("products", row.products);
  yes("repack", row.engine.order == WeightOrder::kPack);
  text("hidden_type", kv_type_name(row.engine.hidden_type));
  yes("use_mmap", row.engine.weights == WeightAccess::kMap);
  integer("n_prompt", row.test.n_prompt);
  integer("n_gen", row.test.n_gen);
  integer("n_depth", row.test.n_depth);
  text("build_commit", row.build_commit);
  text("test_time", row.test_time);
  fields.push_back({"avg_ns", FieldKind::kInteger, whole(mean_of(ns))});
  fields.push_back({"stddev_ns", FieldKind::kInteger, whole(deviation_of(ns))});
  number("avg_ts", mean_of(rates));
  number("stddev_ts", deviation_of(rates));
  fields.push_back({"ttft_ms", FieldKind::kNumber,
                    row.ttft_ms.empty() ? "" : number_text(mean_of(row.ttft_ms))});
  integer("kv_bytes", row.kv_bytes);
  integer("kv_bytes_peak", row.kv_bytes_peak);
  integer("hidden_bytes", row.hidden_bytes);
  const auto bytes_or_null = [&fields](const char* name, std::optional<std::size_t> bytes) {
    fields.push_back({name, FieldKind::kInteger, bytes ? std::to_string(*bytes) : ""});
  };
  bytes_or_null("peak_rss_bytes", row.peak_rss_bytes);
  bytes_or_null("process_peak_rss_bytes", row.process_peak_rss_bytes);
  number("gflops", seconds > 0 ? row.work.flops() / seconds / 1e9 : 0);
  number("attention_gflops", seconds > 0 ? row.work.attention_flops() / seconds / 1e9 : 0);
  number("gbps", seconds > 0 ? row.work.bytes() / seconds / 1e9 : 0);
  add_machine_fields(row, fields);
  return fields;
}

}  // namespace restkv
