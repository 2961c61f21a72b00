"""Speed of OpenVINO GenAI, printed as llama-bench prints it. Runs in the environment that engines.py makes.

The library has no call that reads a prompt on top of a cache that stands: at a depth, the time of a
prompt is that of depth + prompt less that of the depth alone.
"""

import argparse
import json

import numpy
import openvino
import openvino_genai


class Pipeline:
    def __init__(self, args: argparse.Namespace):
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = args.cache_gb
        scheduler.enable_prefix_caching = False  # a prompt that was read before must be read again
        scheduler.max_num_batched_tokens = 2048
        if args.evict:
            scheduler.use_cache_eviction = True
            scheduler.cache_eviction_config = openvino_genai.CacheEvictionConfig(
                start_size=32, recent_size=128, max_cache_size=args.evict,
                aggregation_mode=openvino_genai.AggregationMode.NORM_SUM)
        try:
            self.pipeline = openvino_genai.LLMPipeline(args.model, "CPU", scheduler_config=scheduler,
                                                       INFERENCE_NUM_THREADS=args.threads)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise SystemExit(f"OpenVINO GenAI cannot read {args.model}: {lines[-1]}") from error
        self.random = numpy.random.default_rng(1)

    def generate(self, n_prompt: int, n_gen: int) -> tuple[float, float]:
        """Seconds until the first token, and per token after it (0 when there is none)."""
        tokens = self.random.integers(100, 30000, size=(1, max(1, n_prompt)), dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(tokens),
                                                openvino.Tensor(numpy.ones_like(tokens)))
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = n_gen + 1
        config.ignore_eos = True
        config.do_sample = False
        metrics = self.pipeline.generate(inputs, config).perf_metrics
        return metrics.get_ttft().mean / 1e3, metrics.get_tpot().mean / 1e3 if n_gen else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-t", "--threads", type=int, required=True)
    parser.add_argument("-p", "--n-prompt", type=int, default=0)
    parser.add_argument("-n", "--n-gen", type=int, default=0)
    parser.add_argument("-d", "--n-depth", type=int, default=0)
    parser.add_argument("--cache-gb", type=int, default=4)
    parser.add_argument("--evict", type=int, default=0, help="tokens to keep, 0 = all")
    parser.add_argument("--no-warmup", action="store_true")
    args = parser.parse_args()
    pipeline = Pipeline(args)
    if not args.no_warmup:
        pipeline.generate(16, 2)
    # The cache is read to the depth once for both: the same call writes and says how long it read.
    depth_seconds, token_seconds = (pipeline.generate(args.n_depth, args.n_gen)
                                    if args.n_gen or args.n_depth else (0.0, 0.0))
    rows = []
    if args.n_prompt:
        seconds = pipeline.generate(args.n_depth + args.n_prompt, 0)[0] - (depth_seconds if args.n_depth else 0.0)
        if seconds <= 0:
            raise SystemExit(f"the prompt of {args.n_depth + args.n_prompt} tokens was read sooner than that of {args.n_depth}")
        rows.append({"n_prompt": args.n_prompt, "n_gen": 0, "n_depth": args.n_depth, "avg_ts": args.n_prompt / seconds})
    if args.n_gen:
        rows.append({"n_prompt": 0, "n_gen": args.n_gen, "n_depth": args.n_depth, "avg_ts": 1.0 / token_seconds})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
