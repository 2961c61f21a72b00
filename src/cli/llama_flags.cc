#include "cli/llama_flags.h"

#include <string_view>
#include <vector>

namespace restkv {
namespace {

constexpr std::string_view kNoGpu = "there is no GPU here, restkv runs on the CPU";
constexpr std::string_view kSamplers =
    "the samplers are --temp, --top-k, --top-p, --min-p and --repeat-penalty";
constexpr std::string_view kModels =
    "-m takes any GGUF file, and `restkv pull` lists the models that it fetches";
constexpr std::string_view kModes =
    "`restkv run` answers one message, `restkv chat` is a conversation, --raw leaves the template "
    "out";
constexpr std::string_view kTemplates =
    "--chat-template takes a built-in name, and the model's own template is the default";

void add_ignored_flags(FlagSet& flags) {
  flags.add_ignored({"-ngl", "--gpu-layers", "--n-gpu-layers"}, "N", kNoGpu);
  flags.add_ignored({"-dev", "--device"}, "NAME", kNoGpu);
  flags.add_ignored({"-sm", "--split-mode"}, "MODE", kNoGpu);
  flags.add_ignored({"-ts", "--tensor-split"}, "LIST", kNoGpu);
  flags.add_ignored({"-mg", "--main-gpu"}, "N", kNoGpu);
  flags.add_ignored({"-kvo", "--kv-offload"}, "", kNoGpu);
  flags.add_ignored({"-nkvo", "--no-kv-offload"}, "", kNoGpu);
  flags.add_ignored({"-fa", "--flash-attn"}, "MODE", "attention is always done in tiles");
  flags.add_ignored({"-tb", "--threads-batch"}, "N", "-t sets the threads of all work");
  flags.add_ignored({"-C", "--cpu-mask"}, "M", "threads are placed by the system; taskset does it");
  flags.add_ignored({"-Cr", "--cpu-range"}, "LO-HI",
                    "threads are placed by the system; taskset does it");
  flags.add_ignored({"--prio"}, "N", "nice sets a process's priority");
  flags.add_ignored({"--poll"}, "N", "waiting threads are the business of OpenMP");
  flags.add_ignored({"--numa"}, "TYPE", "numactl places a process");
  flags.add_ignored({"--mmap"}, "", "the model is mapped unless --no-mmap says otherwise");
  flags.add_ignored({"--mlock"}, "", "memory is not locked");
  flags.add_ignored({"--warmup"}, "", "nothing is warmed up");
  flags.add_ignored({"--no-warmup"}, "", "nothing is warmed up");
  flags.add_ignored({"--no-escape"}, "", "the text is always taken as it is");
  flags.add_ignored({"--no-display-prompt"}, "", "the prompt is never printed");
  flags.add_ignored({"--no-context-shift"}, "", "the context is never shifted");
  flags.add_ignored({"--jinja"}, "", "templates are rendered by libllama's built-in renderer");
  flags.add_ignored({"--no-jinja"}, "", "templates are rendered by libllama's built-in renderer");
  flags.add_ignored({"--perf"}, "", "the report always has the timings");
  flags.add_ignored({"--no-perf"}, "", "the report always has the timings");
  flags.add_ignored({"--simple-io"}, "", "answers are plain text");
  flags.add_ignored({"--log-disable"}, "", "there is no log");
  flags.add_ignored({"-v", "--verbose"}, "", "there is no log");
  flags.add_ignored({"-lv", "--verbosity"}, "N", "there is no log");
}

void add_refused_flags(FlagSet& flags) {
  flags.add_refused({"--keep"}, "--kv-sink says how many first tokens are never dropped");
  flags.add_refused({"--context-shift"},
                    "--kv-policy and --kv-budget say what leaves the cache; -c allows more tokens");
  flags.add_refused({"-sysf", "--system-prompt-file"}, "-sys takes the text itself");
  flags.add_refused({"-bf", "--binary-file"}, "-f reads any file");
  flags.add_refused({"-e", "--escape"}, "the text is taken as it is; put line breaks themselves");
  flags.add_refused({"-hf", "-hfr", "--hf-repo"}, kModels);
  flags.add_refused({"-hff", "--hf-file"}, kModels);
  flags.add_refused({"-mu", "--model-url"}, kModels);
  flags.add_refused({"--offline"}, "a model that was fetched before is used without the network");
  flags.add_refused({"-lm", "--load-mode"}, "the model is mapped; --no-mmap reads it");
  flags.add_refused({"-cnv", "--conversation"}, kModes);
  flags.add_refused({"-no-cnv", "--no-conversation"}, kModes);
  flags.add_refused({"-st", "--single-turn"}, kModes);
  flags.add_refused({"-i", "--interactive"}, kModes);
  flags.add_refused({"-r", "--reverse-prompt"}, "an answer ends by the model's choice or by -n");
  flags.add_refused({"--chat-template-file"}, kTemplates);
  flags.add_refused({"--chat-template-kwargs"}, kTemplates);
  flags.add_refused({"--samplers"}, kSamplers);
  flags.add_refused({"--typical", "--typical-p"}, kSamplers);
  flags.add_refused({"--presence-penalty"}, kSamplers);
  flags.add_refused({"--frequency-penalty"}, kSamplers);
  flags.add_refused({"--mirostat"}, kSamplers);
  flags.add_refused({"--dry-multiplier"}, kSamplers);
  flags.add_refused({"--xtc-probability"}, kSamplers);
  flags.add_refused({"--top-nsigma", "--top-n-sigma"}, kSamplers);
  flags.add_refused({"-l", "--logit-bias"}, kSamplers);
  flags.add_refused({"--grammar"}, "answers are not constrained");
  flags.add_refused({"--grammar-file"}, "answers are not constrained");
  flags.add_refused({"-j", "--json-schema"}, "answers are not constrained");
  flags.add_refused({"--lora"}, "merge the adapter into the GGUF file first");
  flags.add_refused({"-mm", "--mmproj"}, "models read text only");
  flags.add_refused({"--prompt-cache"}, "no cache is kept on disk");
  flags.add_refused({"--rpc"}, "the model runs on this machine alone");
}

}  // namespace

void add_llama_flags(FlagSet& flags) {
  add_ignored_flags(flags);
  add_refused_flags(flags);
}

}  // namespace restkv
