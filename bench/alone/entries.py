"""What bench/alone/measure measures: the commands, how their rows are read, and which table shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import layouts
from engines import ROOT
from readers import Reader, json_rows, lines, markdown_rows

# Tokens and rounds of the full measurement, and of --quick, which only shows that everything works.
FULL = {"prompt": "512", "gen": "64", "repeats": "5", "depths": "0,8192,32256", "profile": ["0", "8192", "32768"],
        "wide": "131072", "long": "131072", "budget": "1024", "variants": ["--tokens", "4096"], "bounded": "1024,131072",
        "sparse": "32768", "keys": ["8192", "32768"], "eval": []}
QUICK = {"prompt": "32", "gen": "4", "repeats": "2", "depths": "0,64", "profile": ["64"],
         "wide": "256", "long": "512", "budget": "64", "variants": ["--tokens", "256", "--steps", "2"], "bounded": "64,1024",
         "sparse": "1024", "keys": ["256", "512"], "eval": ["--tasks", "ruler/vt", "--length", "512"]}


@dataclass(frozen=True)
class Setting:
    model: str
    threads: int
    restkv: Path  # programs of bench/ lie beside it
    before: Path | None = None  # restkv of another build
    quick: bool = False

    def __getitem__(self, name: str) -> str | list[str]:
        return (QUICK if self.quick else FULL)[name]

    @property
    def common(self) -> list[str]:
        return ["-m", self.model, "-t", str(self.threads)]

    def bench(self, *words: str) -> list[str]:
        return [str(self.restkv), "bench", *self.common, *words, "-o", "json"]

    def program(self, name: str, *words: str) -> list[str]:
        return [str(self.restkv.parent / f"bench_{name}"), *words]

    def script(self, name: str, *words: str) -> list[str]:
        return [str(ROOT / "bench" / name), *words]


@dataclass(frozen=True)
class Entry:
    """Each round runs all commands once, one after the other; every command is a step that a later run need not repeat."""

    name: str
    title: str
    rounds: int
    steps: Callable[[Setting], dict[str, list[str]]]  # name -> command
    read: Reader
    show: Callable[[list[dict]], str]
    about: str = ""


def profile_steps(of: Setting) -> dict[str, list[str]]:
    programs = ["--program", str(of.restkv), "--label", "now"]
    if of.before:
        programs = ["--program", str(of.before), "--label", "before", *programs]
    return {f"depth {depth}": of.script("profile", *of.common, *programs, "--depths", depth) for depth in of["profile"]}


def peak_steps(of: Setting) -> dict[str, list[str]]:
    prompt = of.bench("-p", of["long"], "-n", "0", "--kv-policy", "rest-kv", "--kv-budget", of["budget"], "-r", "1",
                      "--prefill", "tri-shape")
    full = of.bench("-p", "0", "-n", "1", "-d", of["long"], "--fill", "synthetic", "--kv-policy", "full", "-r", "1",
                    "--no-warmup")
    return {"full cache": full, "f32": [*prompt, "--hidden-type", "f32"], "bf16": [*prompt, "--hidden-type", "bf16"]}


# A number of a program's text.
N = r"-?[\d.]+"

ENTRIES = [
    Entry("depths", "Reading and writing at a depth", 1,
          lambda of: {"all": of.bench("--machine", "-p", of["prompt"], "-n", of["gen"], "-d", of["depths"], "--fill",
                                      "synthetic", "-r", of["repeats"])},
          json_rows, layouts.depths,
          "tokens/s, and shares of the machine's limit: the time that arithmetic or bytes need at the least, over the time "
          "taken."),
    Entry("profile", "Where the time goes", 1, profile_steps, markdown_rows, layouts.profile,
          "Percent of the processor's samples, full f16 cache, made-up rows at a depth."),
    Entry("wide-cache", "A cache of Llama-2-7B's shape", 3,
          lambda of: {"all": of.script("wide_cache", "-t", str(of.threads), "--programs", str(of.restkv.parent), "--depth",
                                       of["wide"], "--budget", of["budget"], "--rounds", "1")},
          lines(rf"rest-kv (?P<budget>\d+) at (?P<depth>\d+) tokens: (?P<times>{N}) times .* to (?P<layers>\d+) layers",
                rf"full .*: +(?P<full_ms>{N}) ms", rf"rest-kv .*extrapolated: +(?P<kept_ms>{N}) ms"), layouts.wide_cache,
          "32 heads of 128, random Q4_0 weights, made-up rows; extrapolated from 1 and 3 layers."),
    Entry("peak-memory", "Peak memory of a long prompt", 1, peak_steps, json_rows, layouts.peak_memory,
          "`peak_rss_bytes` of a sparse prefill, beside the weights with a full f16 cache of as many tokens, as it reports itself "
          "(`kv_bytes`; the tokens' positions are a part of it)."),
    Entry("variants", "Many methods on one prompt", 3,
          lambda of: {"all": of.program("variants", *of.common, "--rounds", "1", *of["variants"])},
          lines(rf"round \d+: prefill (?P<one_s>{N}) s and (?P<all_s>{N}) s \((?P<prefill_times>{N})\), decode "
                rf"(?P<one_ts>{N}) and (?P<all_ts>{N}) tokens/s \((?P<decode_times>{N})\)",
                r"^(?P<tokens>\d+) tokens, .* (?P<variants>\d+) variants over one"), layouts.variants,
          "One prefill that feeds all caches over one for a single cache, and the tokens/s of all together over those of one."),
    Entry("bounded", "Depth and a bounded cache", 5,
          lambda of: {"all": of.bench("-p", "0", "-n", of["gen"], "-d", of["bounded"], "--fill", "synthetic", "--kv-policy",
                                      "rest-kv", "--kv-budget", of["budget"], "-r", "1")},
          json_rows, layouts.bounded, "tokens/s; every round measures both depths, one after the other."),
    Entry("sparse-decode", "Decode that reads a part of the cache", 5,
          lambda of: {"all": of.bench("--machine", "-p", "0", "-n", of["gen"], "-d", of["sparse"], "--fill", "synthetic",
                                      "--kv-policy", "full", "--decode-attn", "dense,quest,ab-sparse,arkvale",
                                      "--decode-budget", "10%", "-r", "1")},
          json_rows, layouts.sparse_decode, "Every round measures all ways, one after the other."),
    Entry("prefill-attention", "Attention of a prefill against the machine", 3,
          lambda of: {f"{keys} keys": of.program("prefill_attention", "f16", keys) for keys in of["keys"]},
          lines(rf"group (?P<group>\d+), head_dim +(?P<head_dim>\d+): .* (?P<gflops>{N}) GFLOPS, +(?P<share>{N}) % of "
                rf"(?P<peak>{N})",
                r"^kernels (?P<kernels>\S+), (?P<queries>\d+) queries, (?P<keys>\d+) keys"), layouts.prefill_attention,
          "One block of queries on one thread, the best of 15: percent of the f32 multiply-adds that registers alone reach, "
          "measured in between."),
    Entry("eval-cost", "What evaluating many methods costs", 3,
          lambda of: {"all": of.script("eval_cost", "--program", str(of.restkv), *of.common, *of["eval"])},
          lines(rf"alone (?P<alone_s>{N}) s, (?P<methods>\d+) methods at (?P<budgets>\d+) budgets (?P<all_s>{N}) s: "
                rf"(?P<times>{N}) times"), layouts.eval_cost,
          "Seconds of `restkv eval` with the full cache alone, and with all methods together."),
    Entry("block-sparse", "Time and density of block-sparse attention", 3,
          lambda of: {"all": of.program("sparse_attention")},
          lines(rf"density (?P<density>{N}): .* ms, .* of dense, (?P<of_share>{N}) of the share",
                r"^group (?P<group>\d+), dense",
                r"^kernels (?P<kernels>\S+), (?P<queries>\d+) queries, (?P<keys>\d+) keys of (?P<head_dim>\d+)"),
          layouts.block_sparse,
          "Time over that of dense attention and over the density: 1.00 is time in proportion. One thread, the best of 15."),
]
