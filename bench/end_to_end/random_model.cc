// Writes a model of a known shape with random weights and few layers, to time what no machine here
// holds whole (bench/wide_cache).
//
//   bench_random_model llama-2-7b LAYERS FILE

#include <ggml.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "support/random_model.h"
#include "whole_number.h"

int main(int argc, char** argv) {
  const std::optional<int> layers = argc == 4 ? restkv::whole_number(argv[2], 1, 32) : std::nullopt;
  if (!layers || std::string_view(argv[1]) != "llama-2-7b") {
    std::fprintf(stderr, "usage: bench_random_model llama-2-7b 1..32 FILE\n");
    return 2;
  }
  restkv::RandomModel model = restkv::random_llama();
  model.n_layer = *layers;
  model.n_embd = 4096;
  model.n_head = 32;
  model.n_kv_head = 32;
  model.head_dim = 128;
  model.n_ff = 11008;
  model.weight_type = GGML_TYPE_Q4_0;
  restkv::GgufWriter file = restkv::random_model_file(model);
  file.set_u32("llama.context_length", 262144);
  if (const auto written = file.write(argv[3]); !written.ok()) {
    std::fprintf(stderr, "bench_random_model: %s\n", written.error().message.c_str());
    return 1;
  }
  return 0;
}
