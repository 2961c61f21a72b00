#pragma once

// The flags that the commands with a model share, and what they come to.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/decode_flags.h"
#include "cli/flags.h"
#include "restkv/engine.h"
#include "restkv/kv_options.h"
#include "restkv/result.h"
#include "text/sampler.h"

namespace restkv {

// What the user typed, before lists are multiplied out.
struct CommonOptions {
  std::string model;  // path or catalogue name; empty = the default model
  EngineOptions engine;
  long long context = 0;  // -c; 0 = what the model was trained for
  // -b and -ub as typed, 0 = not: the smaller one is engine.chunk.
  std::size_t batch = 0;
  std::size_t micro_batch = 0;

  // Lists, as typed.
  std::string policies = "rest-kv";
  std::string budgets = "1024";
  std::string allocators = "uniform";
  std::vector<std::string> kv_options;  // name=value, each
  DecodeFlags decode;
  KvOptions kv;              // what is no list: window, sinks, types, schedule, granularity, ...
  PrefillAttention prefill;  // --prefill

  bool show_help = false;
};

// What to ask the model, and how it answers.
struct PromptOptions {
  std::string file;                  // -f
  std::string prompt;                // -p, the last one
  std::vector<std::string> prompts;  // every -p
  std::string system_prompt;         // -sys
  bool raw = false;                  // --raw
  std::string chat_template;         // --chat-template
};
struct GenerationOptions {
  long long n_predict = -1;           // -1 = until the model ends or the context is full
  SamplerWishes sampling;             // what was typed; the model's file may ask for the rest
  std::optional<std::uint32_t> seed;  // empty = another one each time
  bool ignore_eos = false;
};

void add_model_flags(FlagSet& flags, CommonOptions& options);
// " --hidden-type bf16 ...": those flags of add_model_flags() that change a result and are not at
// their usual values, as they may be typed.
[[nodiscard]] std::string result_flags_text(const CommonOptions& options);
void add_kv_flags(FlagSet& flags, CommonOptions& options);
void add_prompt_flags(FlagSet& flags, PromptOptions& options);
// --chat-template. kInvalidArgument for a name that is not built in; the message lists them.
[[nodiscard]] Flag chat_template_flag(std::string* target);
// --raw, which goes before a template of the environment. set: what it does.
[[nodiscard]] Flag raw_flag(std::string help, std::function<void()> set);
void add_generation_flags(FlagSet& flags, GenerationOptions& options, CommonOptions& common);

// A cache's element type by its name. kInvalidArgument lists the names.
Result<KvType> parse_kv_type(std::string_view name);

// Policies x budgets x allocators, in that order; a policy that keeps everything appears once.
// Checks all of them: nothing is loaded yet.
Result<std::vector<KvOptions>> expand_variants(const CommonOptions& options);

// Reads a whole text file. kNotFound, kIo.
Result<std::string> read_text_file(const std::string& path);

// The text of -f without the line ends at its end; empty when no file is named. A file without text
// is an error.
Result<std::string> document_text(const PromptOptions& options);
// The user's message: the document, a blank line, the question; either may be empty.
std::string user_message(std::string_view document, std::string_view question);

inline constexpr std::string_view kDefaultModel = "qwen2.5-coder-0.5b";

}  // namespace restkv
