#include "cli/kv_report.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/format.h"
#include "base/process.h"
#include "engine/result_labels.h"

namespace restkv {
namespace {

double per_second(double count, double ms) { return ms > 0 ? count * 1000.0 / ms : 0.0; }

// As it may be typed: "0.8", not what else the nearest float is.
std::string shortest_text(float value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return {buffer, error == std::errc() ? end : buffer};
}

nlohmann::ordered_json number_json(float value) {
  return nlohmann::ordered_json::parse(shortest_text(value));
}

nlohmann::ordered_json prefill_json(const PrefillReport& report) {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  for (const auto& [name, value] : report.options) options[name] = value;
  return {{"attention", report.pattern},           {"options", options},
          {"dense_because", report.dense_because}, {"density", report.mean_density()},
          {"layer_density", report.layer_density}, {"estimate_ms", report.estimate_ms},
          {"attention_ms", report.attention_ms}};
}

// Nothing for a prefill that was asked to be dense.
std::string prefill_text(const PrefillReport& report) {
  if (report.pattern == "dense") return "";
  if (!report.dense_because.empty()) {
    return format("prefill    dense: %s\n", report.dense_because.c_str());
  }
  if (report.layer_density.empty()) return "";
  const auto [least, most] = std::ranges::minmax(report.layer_density);
  return format("prefill    %s, %.1f %% of the attention computed (%.1f to %.1f per layer)\n",
                report.pattern.c_str(), 100.0 * report.mean_density(), 100.0 * least, 100.0 * most);
}

}  // namespace

std::string schedule_text(std::string_view policy, const std::string& schedule) {
  return schedule + (is_approximation(policy, schedule) ? " (an approximation)" : "");
}

std::string mib(std::size_t bytes) {
  return format("%.1f MiB", static_cast<double>(bytes) / (1024.0 * 1024.0));
}

AnswerTimings answer_timings(std::size_t prompt_tokens, const PrefillTimings& prefill,
                             const KvReport& report, const Generation& generation) {
  // In a shared prefill each variant is told what it would have taken alone.
  const double reading = prefill.total_ms - prefill.compress_ms;
  const double prompt_ms = reading + report.compress_ms;
  return {.prompt_n = prompt_tokens,
          .prompt_ms = prompt_ms,
          .compress_ms = report.compress_ms,
          .ttft_ms = prompt_ms + generation.first_token_ms,
          .predicted_n = generation.tokens.size(),
          .predicted_ms = generation.decode_ms,
          .predicted_per_second =
              per_second(static_cast<double>(generation.decode_steps), generation.decode_ms)};
}

nlohmann::ordered_json decode_json(const DecodeReport& report) {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  for (const auto& [name, value] : report.options) options[name] = value;
  return {{"decode_attn", report.method},
          {"decode_budget", report.budget},
          {"options", options},
          {"block_sizes", block_sizes_text(report)},
          {"table", report.table},
          {"table_mean", report.table_mean},
          {"table_mean_rows", report.table_mean_rows},
          {"table_texts", report.table_texts},
          {"steps", report.steps},
          {"rows_read_mean", report.rows_read_mean},
          {"rows_held_mean", report.rows_held_mean},
          {"summary_bytes", report.summary_bytes}};
}

nlohmann::ordered_json answer_json(const Engine& engine, const Generation& generation,
                                   const KvReport& report, const AnswerTimings& timings) {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  for (const auto& [name, value] : report.options) options[name] = value;
  return {
      {"text", generation.text},
      {"tokens", generation.tokens},
      {"stop", stop_reason_name(generation.stop)},
      {"usage",
       {{"prompt_tokens", timings.prompt_n}, {"completion_tokens", generation.tokens.size()}}},
      {"kv",
       {{"policy", report.policy},
        {"publication", publication_of(report.policy)},
        {"budget", report.budget},
        {"budget_tokens", report.budget_rows},
        {"budget_raised", report.budget_raised},
        {"allocator", report.allocator},
        {"budgets", budgets_label(report.allocator)},
        {"granularity", report.granularity},
        {"schedule", report.schedule},
        {"approximation", is_approximation(report.policy, report.schedule)},
        {"options", options},
        {"untouched", report.untouched},
        {"prompt_tokens", report.prompt_tokens},
        {"kept_tokens_min", report.kept_tokens_min},
        {"kept_tokens_mean", report.kept_tokens_mean},
        {"kept_tokens_max", report.kept_tokens_max},
        {"stored_tokens_mean", report.stored_tokens_mean},
        {"dropped_tokens_mean", report.dropped_tokens_mean},
        {"end_tokens_max", report.end_tokens_max},
        {"compressions", report.compressions},
        {"generated_dropped_mean", report.generated_dropped},
        {"query_bytes", report.query_bytes},
        {"bytes", report.bytes},
        {"bytes_full", report.bytes_full},
        {"bytes_peak", report.bytes_peak},
        {"hidden_bytes", report.hidden_bytes}}},
      {"prefill", prefill_json(report.prefill)},
      {"decode", decode_json(report.decode)},
      {"timings",
       {{"prompt_n", timings.prompt_n},
        {"prompt_ms", timings.prompt_ms},
        {"prompt_per_second", per_second(static_cast<double>(timings.prompt_n), timings.prompt_ms)},
        {"compress_ms", timings.compress_ms},
        {"ttft_ms", timings.ttft_ms},
        {"predicted_n", timings.predicted_n},
        {"predicted_ms", timings.predicted_ms},
        {"predicted_per_second", timings.predicted_per_second},
        {"generated_compress_ms", report.generated_compress_ms}}},
      {"memory", {{"peak_rss_bytes", peak_rss_bytes()}}},
      {"model", engine.model().name},
      {"threads", engine.threads()},
      {"isa", engine.kernels()},
  };
}

nlohmann::ordered_json sampling_json(const SamplerOptions& options) {
  nlohmann::ordered_json seed;
  if (!is_greedy(options)) seed = options.seed.value();
  return {{"greedy", is_greedy(options)},
          {"seed", seed},
          {"temperature", number_json(options.temperature)},
          {"top_k", options.top_k},
          {"top_p", number_json(options.top_p)},
          {"min_p", number_json(options.min_p)},
          {"repeat_penalty", number_json(options.repeat_penalty)},
          {"repeat_last_n", options.repeat_last_n}};
}

std::string sampling_text(const SamplerOptions& options) {
  if (is_greedy(options)) return "";
  std::string text = format("sampling   seed %u, temperature %s", options.seed.value(),
                            shortest_text(options.temperature).c_str());
  const SamplerOptions usual;
  if (options.top_k != usual.top_k) text += ", top-k " + std::to_string(options.top_k);
  if (options.top_p != usual.top_p) text += ", top-p " + shortest_text(options.top_p);
  if (options.min_p != usual.min_p) text += ", min-p " + shortest_text(options.min_p);
  if (options.repeat_penalty != usual.repeat_penalty) {
    text += ", repeat-penalty " + shortest_text(options.repeat_penalty);
  }
  if (options.repeat_last_n != usual.repeat_last_n) {
    text += ", repeat-last-n " + std::to_string(options.repeat_last_n);
  }
  return text + "\n";
}

nlohmann::ordered_json kept_json(const KeptPositions& kept) { return {{"layers", kept}}; }

std::string report_text(const KvReport& report, const AnswerTimings& timings, StopReason stop,
                        QueryMode mode) {
  std::string text = format(
      "prompt     %zu tokens, %.1f tokens/s, first token after %.2f s\n"
      "answer     %zu tokens, %.1f tokens/s, ended by %s\n",
      timings.prompt_n, per_second(static_cast<double>(timings.prompt_n), timings.prompt_ms),
      timings.ttft_ms / 1000.0, timings.predicted_n, timings.predicted_per_second,
      stop_reason_name(stop));
  text += prefill_text(report.prefill);
  text +=
      format("cache      %s, budget %s%s, %s, budgets %s\n", report.policy.c_str(),
             report.budget.c_str(), report.budget_raised ? " (raised to the protected rows)" : "",
             report.allocator.c_str(), std::string(budgets_label(report.allocator)).c_str());
  if (report.untouched) {
    text += format("kept       all %zu tokens: the prompt fits, nothing was dropped\n",
                   report.prompt_tokens);
  } else {
    const bool apart = report.granularity != "kv-head";
    text +=
        format("kept       %.1f of %zu tokens per layer and %shead (%zu to %zu); %.1f dropped\n",
               report.kept_tokens_mean, report.prompt_tokens, apart ? "query " : "",
               report.kept_tokens_min, report.kept_tokens_max, report.dropped_tokens_mean);
    if (apart) {
      text += format(
          "stored     %.1f tokens per layer and KV head: what any of its query heads keeps\n",
          report.stored_tokens_mean);
    }
  }
  text += "schedule   " + schedule_text(report.policy, report.schedule);
  if (report.schedule == "once") {
    text += "\n";
  } else {
    text += format(": dropped after %zu generated tokens, %.1f rows per layer and head, %.1f ms\n",
                   report.compressions, report.generated_dropped, report.generated_compress_ms);
  }
  const double share = report.bytes_full > 0 ? 100.0 * static_cast<double>(report.bytes) /
                                                   static_cast<double>(report.bytes_full)
                                             : 100.0;
  text += format("KV memory  %s (%.1f %% of a full cache's %s), %s at the peak; process %s\n",
                 mib(report.bytes).c_str(), share, mib(report.bytes_full).c_str(),
                 mib(report.bytes_peak).c_str(), mib(peak_rss_bytes()).c_str());
  if (report.decode.method != "dense") {
    const DecodeReport& decode = report.decode;
    text += "reads      " + decode.method + ", budget " + decode.budget;
    if (!decode.table.empty()) text += ", " + decode.table;
    text += ", " + block_sizes_text(decode);
    text += format(": %.1f of %.1f rows per step and head\n", decode.rows_read_mean,
                   decode.rows_held_mean);
  }
  return text + "mode       " + std::string(query_mode_name(mode)) + "\n";
}

}  // namespace restkv
