"""Speed of ik_llama.cpp, printed as llama-bench prints it. Runs in the environment that engines.py makes.

Uses the low-level calls of ik-llama-cpp-python: its high-level class switches flash attention off on
processors without VNNI, and cannot set the cache's type or repacking at run time.
"""

import argparse
import ctypes
import json
import time

import ik_llama_cpp._ctypes_api as C

GGML_TYPES = {"f16": 1, "q8_0": 8}
BATCH = 2048


class Context:
    def __init__(self, args: argparse.Namespace, n_ctx: int):
        C.llama_backend_init()
        model_params = C.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.repack_tensors = args.repack
        model_params.use_mmap = not args.repack  # what is repacked cannot stay in the file
        self.model = C.llama_model_load_from_file(args.model.encode(), model_params)
        if not self.model:
            raise SystemExit(f"ik_llama.cpp cannot read {args.model}")
        params = C.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = BATCH
        params.n_ubatch = args.ubatch
        params.n_threads = params.n_threads_batch = args.threads
        params.flash_attn = args.flash_attn
        params.type_k = params.type_v = GGML_TYPES[args.cache_type]
        self.context = C.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("ik_llama.cpp made no context")
        self.n_vocab = C.llama_vocab_n_tokens(C.llama_model_get_vocab(self.model))
        self.batch = C.llama_batch_init(BATCH, 0, 1)
        self.length = 0
        self.seed = 1
        # Not among the package's own bindings.
        self.remove = C._lib.llama_kv_cache_seq_rm
        self.remove.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32]
        self.remove.restype = ctypes.c_bool

    def token(self) -> int:
        self.seed = (self.seed * 1103515245 + 12345) % (1 << 31)
        return self.seed % self.n_vocab

    def read(self, n: int) -> None:
        """Random tokens behind what the cache holds; logits of the last only."""
        while n > 0:
            count = min(n, BATCH)
            for i in range(count):
                self.batch.token[i] = self.token()
                self.batch.pos[i] = self.length + i
                self.batch.n_seq_id[i] = 1
                self.batch.seq_id[i][0] = 0
                self.batch.logits[i] = int(i == n - 1)
            self.batch.n_tokens = count
            if C.llama_decode(self.context, self.batch) != 0:
                raise SystemExit("ik_llama.cpp: llama_decode failed")
            self.length += count
            n -= count

    def back_to(self, length: int) -> None:
        if length == 0:
            C.llama_kv_cache_clear(self.context)
        elif not self.remove(self.context, 0, length, -1):
            raise SystemExit("ik_llama.cpp: cannot remove tokens")
        self.length = length

    def measure(self, n_prompt: int, n_gen: int) -> float:
        """Seconds."""
        start = time.perf_counter()
        self.read(n_prompt)
        for _ in range(n_gen):
            self.read(1)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-t", "--threads", type=int, required=True)
    numbers = {"type": lambda text: [int(part) for part in text.split(",")], "default": [0]}
    parser.add_argument("-p", "--n-prompt", **numbers, help="a list: one test for each")
    parser.add_argument("-n", "--n-gen", **numbers)
    parser.add_argument("-d", "--n-depth", type=int, default=0)
    parser.add_argument("-ct", "--cache-type", choices=GGML_TYPES, default="q8_0")
    parser.add_argument("-ub", "--ubatch", type=int, default=512)
    parser.add_argument("--flash-attn", type=int, default=1)
    parser.add_argument("--repack", type=int, default=1)
    parser.add_argument("--no-warmup", action="store_true")
    parser.add_argument("--delay", type=int, default=0, help="seconds before each test")
    parser.add_argument("-o", "--output", choices=("json", "jsonl"), default="json")
    args = parser.parse_args()
    tests = [*((n, 0) for n in args.n_prompt if n), *((0, n) for n in args.n_gen if n)]
    context = Context(args, args.n_depth + max(map(sum, tests)) + 64)
    if not args.no_warmup:
        context.read(min(512, max(1, *args.n_prompt)))
        context.back_to(0)
    context.read(args.n_depth)
    rows = []
    for n_prompt, n_gen in tests:
        time.sleep(args.delay)
        seconds = context.measure(n_prompt, n_gen)
        context.back_to(args.n_depth)
        rows.append({"n_prompt": n_prompt, "n_gen": n_gen, "n_depth": args.n_depth,
                     "avg_ts": (n_prompt + n_gen) / seconds})
        if args.output == "jsonl":
            print(json.dumps(rows[-1]), flush=True)
    if args.output == "json":
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
