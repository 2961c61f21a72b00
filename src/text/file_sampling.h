#pragma once

// How a model's file asks tokens to be drawn: the keys general.sampling.*, which llama.cpp's
// converter takes from generation_config.json.

#include <string>
#include <vector>

#include "restkv/result.h"
#include "text/sampler.h"

struct llama_model;

namespace restkv {

struct FileSampling {
  SamplerWishes wishes;
  // What else it asks for and Sampler does not do: "general.sampling.mirostat = 2".
  std::vector<std::string> not_done;
};

// kCorrupt naming the key that is no number, or out of the range that its flag has.
Result<FileSampling> read_file_sampling(const llama_model& model);

}  // namespace restkv
