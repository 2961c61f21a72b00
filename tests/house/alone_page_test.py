#!/usr/bin/env python3
"""Rows, tables, goals and page of bench/alone on made-up results: alone_page_test.py FOLDER_OF_THE_MODULE"""

import sys
import unittest
from pathlib import Path

FOLDER = Path(sys.argv.pop(1)).resolve()
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "peers")]
import document  # noqa: E402
import entries  # noqa: E402
import kept  # noqa: E402
import page  # noqa: E402

ENTRIES = {entry.name: entry for entry in entries.ENTRIES}


def bench(depth: int, gen: int, rate: float, **values) -> dict:
    """A row of `restkv bench` with two samples, the second twice as fast as the first."""
    return {"n_prompt": 0 if gen else 512, "n_gen": gen, "n_depth": depth, "avg_ts": rate, "samples_ts": [rate / 2, rate],
            "avg_ns": 1500, "samples_ns": [2000, 1000], "limit_share": 0.4, "gbps": 20.0, "machine_gbps": 40.0,
            "machine_gflops": 100.0, "machine_product_gflops": 200.0, "kv_policy": "full", "kv_budget": "100%"} | values


def step(entry: str, rows: list[dict], turn: int = 1, **values) -> dict:
    return {"entry": entry, "step": "all", "round": turn, "command": f"restkv of {entry}", "run": "a", "version": "abc",
            "date": "2026-01-02", "rows": rows} | values


def results(*measured: dict, failed: tuple = ()) -> dict:
    return {"quick": False, "before": None, "date": "2026-01-02", "model": "m.gguf", "threads": 2, "version": "abc",
            "machine": {"cpu": "a CPU", "system": "Linux", "limits": ["machine: 2 threads"], "load": 0.1},
            "measured": list(measured), "failed": list(failed)}


class Readers(unittest.TestCase):
    def test_lines_of_the_programs_are_rows(self):
        said = {
            "wide-cache": ("full     1 layer    10.00 ms, 3 layers    30.00 ms a token; 32 layers, extrapolated:     320.0 ms\n"
                           "rest-kv  1 layer     5.00 ms, 3 layers     5.00 ms a token; 32 layers, extrapolated:       5.0 ms\n"
                           "rest-kv 64 at 256 tokens: 64.00 times the speed of the full cache (64.00 to 64.00), "
                           "extrapolated to 32 layers",
                           {"full_ms": 320.0, "kept_ms": 5.0, "budget": 64, "depth": 256, "times": 64.0, "layers": 32}),
            "variants": ("4096 tokens, 2 threads, kernels avx2, 40 variants over one\n"
                         "round 1: prefill 4.0 s and 5.0 s (1.25), decode 60.0 and 240.0 tokens/s (4.00)",
                         {"tokens": 4096, "variants": 40, "one_s": 4.0, "all_s": 5.0, "prefill_times": 1.25, "one_ts": 60.0,
                          "all_ts": 240.0, "decode_times": 4.0}),
            "prefill-attention": ("kernels avx3_vnni, 64 queries, 8192 keys in f16\n"
                                  "group 1, head_dim  64:    0.10 ms,   82.3 GFLOPS, 76.5 % of 107.6",
                                  {"kernels": "avx3_vnni", "queries": 64, "keys": 8192, "group": 1, "head_dim": 64,
                                   "gflops": 82.3, "share": 76.5, "peak": 107.6}),
            "eval-cost": ("full cache alone 17.6 s, 10 methods at 4 budgets 40.6 s: 2.31 times",
                          {"alone_s": 17.6, "methods": 10, "budgets": 4, "all_s": 40.6, "times": 2.31}),
            "block-sparse": ("kernels ref, 64 queries, 16384 keys of 64 in f16, blocks of 128\ngroup 4, dense: 3.14 ms\n"
                             "  density 0.500: 1.50 ms, 0.476 of dense, 0.95 of the share",
                             {"kernels": "ref", "queries": 64, "keys": 16384, "head_dim": 64, "group": 4, "density": 0.5,
                              "of_share": 0.95}),
            "profile": ("| work | depth | program | waiting | attention |\n|---|---|---|---|---|\n"
                        "| tokens written | 64 | now | 5.0 | 95.0 |",
                        {"work": "tokens written", "depth": 64, "program": "now", "waiting": 5.0, "attention": 95.0}),
        }
        for name, (text, row) in said.items():
            with self.subTest(name):
                self.assertEqual(ENTRIES[name].read(text), [row])
                self.assertEqual(ENTRIES[name].read("nothing of it"), [])
                self.assertIn("|", ENTRIES[name].show([row | {"round": 1}]))
        self.assertEqual(ENTRIES["depths"].read('a line\n[{"n_gen": 3}]'), [{"n_gen": 3}])
        self.assertEqual(ENTRIES["depths"].read("a line"), [])


class Tables(unittest.TestCase):
    def test_every_sample_counts_and_shares_are_of_its_own_time(self):
        text = ENTRIES["depths"].show([bench(0, 0, 600.0), bench(0, 64, 80.0)])
        self.assertIn("| depth | reading 512 | % of the limit | writing 64 |", text)
        self.assertIn("| 0 | 450.0 (300.0-600.0) | 45 (30-60) | 60.0 (40.0-80.0) | 45 (30-60) | 56 (38-75) |", text)
        self.assertIn("read 40.0 GB/s", text)

    def test_ratios_of_a_bounded_cache_are_taken_round_by_round(self):
        rows = [row | {"round": turn} for turn, (small, great) in enumerate(((10.0, 20.0), (40.0, 40.0)))
                for row in (bench(1024, 64, small), bench(131072, 64, great))]
        self.assertIn("| 131072 | full | 100% | 30.0 (20.0-40.0) | 1.50 (1.00-2.00) |", ENTRIES["bounded"].show(rows))

    def test_a_peak_is_of_weights_and_full_cache(self):
        full = bench(100, 1, 1.0, kv_bytes=60 << 20)
        prompt = bench(0, 0, 1.0, n_prompt=100, kv_policy="rest-kv", hidden_type="bf16", model_size=40 << 20,
                       peak_rss_bytes=48 << 20, process_peak_rss_bytes=50 << 20, hidden_bytes=2 << 20, kv_bytes_peak=3 << 20)
        self.assertIn("| 100 | bf16 | 48 | 50 | 40 | 2 | 3 | 100 | 48.0 |", ENTRIES["peak-memory"].show([full, prompt]))
        self.assertIn("not both were measured", ENTRIES["peak-memory"].show([prompt]))

    def test_where_time_goes_is_told_of_both_builds(self):
        rows = [{"work": work, "depth": 0, "program": program, "attention": share, "round": 1} for share, (work, program) in
                enumerate((("512 tokens read", "before"), ("tokens written", "before"), ("512 tokens read", "now")))]
        self.assertEqual(ENTRIES["profile"].show(rows),
                         "| work | depth | program | attention |\n|---|---|---|---|\n| 512 tokens read | 0 | before | 0.0 |\n"
                         "| 512 tokens read | 0 | now | 2.0 |\n| tokens written | 0 | before | 1.0 |\n")


class Goals(unittest.TestCase):
    def goal(self, what: str, *measured: dict) -> str:
        return next(line for line in page.text_of(results(*measured)).splitlines() if line.startswith(f"| {what}"))

    def test_the_median_decides_and_what_is_missed_is_bold(self):
        row = {"tokens": 9, "variants": 40, "one_s": 1.0, "all_s": 1.0, "one_ts": 1.0, "all_ts": 1.0}
        steps = [step("variants", [row | {"prefill_times": times, "decode_times": times}], turn)
                 for turn, times in enumerate((1.0, 1.3, 9.0), 1)]
        self.assertIn("| at most 1.25 | 40 caches: **1.30 (1.00-9.00)** |", self.goal("one prefill", *steps))
        self.assertIn("| at least 2.4 | 40 caches: **1.30 (1.00-9.00)** |", self.goal("tokens/s of many", *steps))
        self.assertIn("| at least 2.4 | 40 caches: 9.00 |", self.goal("tokens/s of many", steps[2]))

    def test_every_depth_has_to_reach_it(self):
        steps = step("depths", [bench(0, 64, 80.0, gbps=40.0), bench(8192, 64, 80.0)])
        self.assertIn("| depth 0: 112 (75-150) %; depth 8192: **56 (38-75) %** |", self.goal("writing with", steps))

    def test_the_worst_shape_decides(self):
        rows = [{"keys": 64, "group": group, "head_dim": 64, "share": share, "gflops": 1.0, "peak": 1.0}
                for group, share in ((1, 80.0), (4, 74.9), (7, 90.0))]
        self.assertIn("64 keys, at the least (group 4, head_dim 64): **74.9 %**",
                      self.goal("attention of", step("prefill-attention", rows)))

    def test_dense_decode_is_no_sparse_one(self):
        rows = [bench(64, 4, 1.0, decode_attn=way, decode_budget="10%") for way in ("dense", "quest")]
        line = self.goal("decode that reads", step("sparse-decode", rows))
        self.assertIn("| quest at 64: **56 (38-75) %** |", line)

    def test_what_was_not_measured_has_no_figure(self):
        self.assertIn("| at most 3 | not measured |", self.goal("evaluating"))


class Page(unittest.TestCase):
    cost = {"alone_s": 10.0, "methods": 10, "budgets": 4, "all_s": 20.0, "times": 2.0}

    def test_missing_and_failed_entries_are_told(self):
        failure = {"entry": "profile", "step": "depth 0", "round": 1, "error": "/a/b/perf is missing"}
        text = page.text_of(results(step("eval-cost", [self.cost]), failed=(failure,)))
        self.assertIn("### What evaluating many methods costs\n", text)
        self.assertIn("\n    restkv of eval-cost\n\n| methods", text)
        self.assertIn("| 40 | 10.0 | 20.0 | 2.00 |", text)
        self.assertNotIn("### Where the time goes", text)
        self.assertIn("- Where the time goes, depth 0, round 1: perf is missing.", text)
        self.assertIn("- Not measured: Reading and writing at a depth; A cache of Llama-2-7B's shape; ", text)

    def test_rounds_other_versions_and_parts_are_told(self):
        text = page.text_of(results(step("eval-cost", [self.cost]),
                                    step("eval-cost", [self.cost | {"times": 3.0}], 2, version="def", run="b")))
        self.assertIn("with all methods together. Two rounds.\n", text)
        self.assertIn("| 2.50 (2.00-3.00) |", text)
        self.assertIn("restkv abc on 2026-01-02, restkv def on 2026-01-02.", text)
        self.assertIn("- What evaluating many methods costs: measured in two parts.", text)

    def test_commands_are_those_that_anyone_would_type(self):
        said = kept.shown([str(entries.ROOT / "bench" / "profile"), "-m", "/a/m.gguf", "--program", "/a/restkv"],
                          "/a/m.gguf", "m")
        self.assertEqual(said, "bench/profile -m m --program restkv")

    def test_it_stands_beside_the_section_of_the_peers(self):
        peers = "## Side by side\n\nText.\n\n### Reading\n\nMore.\n"
        both = document.page_with(peers, "# A machine\n") + f"\n{page.BEGIN}\n{page.END}\n"
        own = "## By itself\n\nOwn.\n\n### Goals\n"
        first = document.page_with(own, both, page.TITLE, page.BEGIN, page.END)
        self.assertTrue(first.endswith(f"\n\n{page.BEGIN}\n{own}{page.END}\n"))
        self.assertIn("## Reading\n\nMore.\n<!--", first)
        second = document.page_with(peers, first)
        self.assertIn(f"{document.BEGIN}\n{peers}{document.END}\n{page.BEGIN}\n{own}{page.END}\n", second)
        self.assertEqual(document.page_with(own, second, page.TITLE, page.BEGIN, page.END), second)


if __name__ == "__main__":
    unittest.main()
