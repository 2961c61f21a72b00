#include "eval/result_store.h"

namespace restkv {
namespace {

constexpr EvalColumn kColumns[] = {
    {"fingerprint", &EvalRow::fingerprint},
    {"task", &EvalRow::task},
    {"length", &EvalRow::length},
    {"sample", &EvalRow::sample},
    {"seed", &EvalRow::seed},
    {"variant_json", &EvalRow::variant_json},
    {"model", &EvalRow::model},
    {"suite", &EvalRow::suite},
    {"category", &EvalRow::category},
    {"metric", &EvalRow::metric},
    {"wording", &EvalRow::wording},
    {"source", &EvalRow::source},
    {"prompt_hash", &EvalRow::prompt_hash},
    {"depth", &EvalRow::depth},
    {"variant", &EvalRow::variant},
    {"policy", &EvalRow::policy},
    {"options", &EvalRow::options},
    {"budget", &EvalRow::budget},
    {"allocator", &EvalRow::allocator},
    {"schedule", &EvalRow::schedule},
    {"granularity", &EvalRow::granularity},
    {"mode", &EvalRow::mode},
    {"prefill", &EvalRow::prefill},
    {"decode_attn", &EvalRow::decode_attn},
    {"decode_budget", &EvalRow::decode_budget},
    {"prediction", &EvalRow::prediction},
    {"answers", &EvalRow::answers},
    {"score", &EvalRow::score},
    {"answered", &EvalRow::answered},
    {"stop", &EvalRow::stop},
    {"truncated", &EvalRow::truncated},
    {"looping", &EvalRow::looping},
    {"prompt_tokens", &EvalRow::prompt_tokens},
    {"generated_tokens", &EvalRow::generated_tokens},
    {"kept_tokens", &EvalRow::kept_tokens},
    {"bytes", &EvalRow::bytes},
    {"bytes_full", &EvalRow::bytes_full},
    {"bytes_peak", &EvalRow::bytes_peak},
    {"prefill_ms", &EvalRow::prefill_ms},
    {"compress_ms", &EvalRow::compress_ms},
    {"decode_ms", &EvalRow::decode_ms},
    {"batch", &EvalRow::batch},
    {"version", &EvalRow::version},
    {"kernels", &EvalRow::kernels},
    {"settings", &EvalRow::settings},
    {"kept", &EvalRow::kept},
    {"rows_read", &EvalRow::rows_read},
    {"rows_held", &EvalRow::rows_held},
    {"summary_bytes", &EvalRow::summary_bytes},
};

}  // namespace

std::span<const EvalColumn> eval_columns() { return kColumns; }

}  // namespace restkv
