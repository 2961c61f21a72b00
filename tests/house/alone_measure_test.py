#!/usr/bin/env python3
"""bench/alone/measure with programs that only pretend to measure: alone_measure_test.py FOLDER_OF_MEASURE"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

FOLDER = Path(sys.argv.pop(1)).resolve()

# Stands for restkv; writes down every bench that it is asked for.
RESTKV = f'#!{sys.executable} -IS\n' + '''import json, sys
from pathlib import Path

words = sys.argv[1:]
value = lambda flag: words[words.index(flag) + 1]
if "--version" in words:
    print("restkv 0.1.0 (abc1234)")
elif words[0] == "pull":
    print("some-model.gguf")
elif words[0] == "bench" and value("-p") == value("-n") == "0":
    print("machine: 2 threads  100.0 GFLOPS f32, 20.0 GB/s read")
elif words[0] == "bench":
    with Path(sys.argv[0]).with_name("asked").open("a") as asked:
        print(*words, file=asked)
    rows = []
    for depth in map(int, value("-d").split(",") if "-d" in words else ["0"]):
        rows.append({"n_prompt": int(value("-p")), "n_gen": int(value("-n")), "n_depth": depth, "avg_ts": 50.0,
                     "samples_ts": [50.0], "avg_ns": 1000, "samples_ns": [1000], "kv_policy": "rest-kv", "kv_budget": "64"})
    print(json.dumps(rows))
'''
VARIANTS = '''#!/bin/sh
echo "256 tokens, 2 threads, kernels ref, 40 variants over one"
echo "round 1: prefill 1.0 s and 1.1 s (1.10), decode 60.0 and 240.0 tokens/s (4.00)"
'''
BROKEN = "#!/bin/sh\necho no such kernel >&2\nexit 1\n"


class Measure(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cache = self.folder / "cache" / "restkv" / "peers"
        for name, text in (("restkv", RESTKV), ("bench_variants", VARIANTS), ("bench_sparse_attention", BROKEN)):
            self.program(name, text)

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def measure(self, *words: str, status: int = 0) -> str:
        environment = os.environ | {"XDG_CACHE_HOME": str(self.folder / "cache"), "RESTKV_PROGRAM": str(self.folder / "restkv")}
        done = subprocess.run([sys.executable, FOLDER / "measure", "--quick", "--threads", "2", *words], env=environment,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def page(self) -> str:
        return (self.cache / "quick-alone.md").read_text()

    def results(self) -> Path:
        return max(self.cache.glob("alone-*.json"))

    def data(self) -> dict:
        return json.loads(self.results().read_text())

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def test_a_page_is_written_of_what_was_chosen(self):
        said = self.measure("--only", "bounded,variants", "--rounds", "2")
        self.assertIn("measure: bounded, round 2: restkv bench -m qwen2.5-coder-0.5b ", said)
        self.assertEqual(len(self.asked()), 2)
        self.assertIn("| 1024 | rest-kv | 64 | 50.0 (50.0-50.0) | 1.00 (1.00-1.00) |", self.page())
        self.assertIn("restkv abc1234.", self.page())
        self.assertNotIn(str(self.folder), self.page())

    def test_an_unknown_name_is_refused(self):
        self.assertIn("there is no nothing among depths, ", self.measure("--only", "bounded,nothing", status=2))
        self.assertFalse(self.cache.exists())

    def test_results_that_cannot_be_read_are_named_in_one_line(self):
        path = self.folder / "missing.json"
        for word in ("--resume", "--report"):
            self.assertEqual(self.measure(word, str(path), status=1), f"measure: {path}: No such file or directory\n")

    def test_what_fails_is_told_and_the_others_go_on(self):
        self.measure("--only", "prefill-attention,block-sparse,variants", status=1)
        self.assertIn("- Time and density of block-sparse attention, all, round 1: no such kernel.", self.page())
        self.assertIn("bench_prefill_attention is missing: `cmake --build build --target bench_prefill_attention` builds it",
                      self.page())
        self.assertIn("| 256 | 40 | 1 | 1.0 | 1.1 | 1.10 |", self.page())

    def test_what_cannot_be_read_is_a_failure(self):
        self.program("restkv", RESTKV.replace("print(json.dumps(rows))", "print('[' + json.dumps(rows))"))
        self.measure("--only", "bounded,variants", status=1)
        self.assertIn("- Depth and a bounded cache, all, round 1: restkv: ", self.page())

    def test_a_run_goes_on_with_what_is_missing(self):
        self.measure("--only", "bounded,block-sparse", status=1)
        before = self.data()["measured"]
        self.program("bench_sparse_attention", "#!/bin/sh\necho group 1, dense: 3 ms\n"
                     "echo '  density 0.500: 1.50 ms, 0.476 of dense, 0.95 of the share'\n")
        self.measure("--only", "bounded,block-sparse", "--rounds", "2", "--resume", str(self.results()))
        data = self.data()
        self.assertEqual(len(self.asked()), 2)
        self.assertEqual(data["measured"][:len(before)], before)
        self.assertEqual([(done["entry"], done["round"]) for done in data["measured"]],
                         [("bounded", 1), ("bounded", 2), ("block-sparse", 1), ("block-sparse", 2)])
        self.assertEqual(data["failed"], [])
        self.assertIn("- Depth and a bounded cache: measured in two parts.", self.page())

    def test_a_run_of_other_settings_is_not_gone_on_with(self):
        self.measure("--only", "variants")
        for words in (("--model", __file__), ("--before", str(self.folder))):
            self.assertIn("is of other settings", self.measure("--resume", str(self.results()), *words, status=1))

    def test_the_page_is_written_again_from_the_results(self):
        self.measure("--only", "bounded")
        first = self.page()
        page = self.folder / "README.md"
        page.write_text("# A machine\n\n<!-- written by bench/alone/measure: begin -->\n"
                        "<!-- written by bench/alone/measure: end -->\n\nAfter.\n")
        self.measure("--report", str(self.results()), "--document", str(page))
        self.assertEqual(page.read_text(), first.replace("# By itself\n", "# A machine\n") + "After.\n")
        self.assertEqual(len(self.asked()), 1)

    def test_without_another_build_there_is_no_before(self):
        self.assertIn("--before: there is no program ", self.measure("--before", str(self.folder / "none"), status=1))


if __name__ == "__main__":
    unittest.main()
