#!/usr/bin/env python3
"""bench/peers/compare with programs that only pretend to measure: peers_compare_test.py FOLDER_OF_COMPARE

llama.cpp is left out: its bench is built, not installed.
"""

import collections
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PEERS = Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(PEERS))
import engines  # noqa: E402

# Stands for restkv and for the Python of every peer. Its figures follow from what it is asked; it fails where FAILS, a
# regular expression, is found in that, and prints no rows where NONSENSE is.
STUB = f'#!{sys.executable} -IS\n' + '''import json, os, re, sys

words = sys.argv[1:]
value = lambda flag: words[words.index(flag) + 1]
if re.search(os.environ.get("FAILS") or "(?!)", " ".join(words)):
    sys.exit("it is told to fail")
if re.search(os.environ.get("NONSENSE") or "(?!)", " ".join(words)):
    sys.exit(print("no rows today"))
if "--version" in words:
    print("restkv 0.1.0 (abc1234)")
elif words[0] == "-c":
    print("9.9")
elif words[0] == "pull":
    print("some-model.gguf")
elif words[0].endswith("pictures.py"):
    print("one.svg")
elif value("-p") == value("-n") == "0":
    print("machine: 1 thread  50.0 GFLOPS f32, 9.0 GB/s read")
    print("machine: 2 threads  100.0 GFLOPS f32, 200.0 GFLOPS int8 AVX2, 20.0 GB/s read")
else:
    own = words[0] == "bench"
    if words[0].endswith("openvino_bench.py") and "pure-q8_0" not in value("-m"):
        sys.exit("OpenVINO GenAI cannot read " + value("-m"))
    rows = []
    for flag, key in (("-p", "n_prompt"), ("-n", "n_gen")):
        for n in filter(None, map(int, value(flag).split(","))):
            row = {"n_prompt": 0, "n_gen": 0, key: n, "avg_ts": (200.0 if own else 100.0) + n}
            if own:
                row |= {"process_peak_rss_bytes": 700 << 20, "limit": "bandwidth", "limit_share": 0.9,
                        "machine_gbps": 11.0, "gflops": 40.0, "attention_gflops": 10.0, "gbps": 10.0}
            rows.append(row)
    if "jsonl" in words:
        for row in rows:
            print(json.dumps(row), flush=True)
    else:
        print(json.dumps(rows))
'''


class Compare(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cache = self.folder / "restkv" / "peers"
        self.restkv = self.stub(self.folder / "restkv-stub")
        for name, package in (("ik", engines.IK_PACKAGE), ("openvino", engines.OPENVINO_PACKAGE),
                              ("pictures", engines.PICTURES_PACKAGE)):
            self.stub(self.cache / name / "bin" / "python")
            (self.cache / name / "installed").write_text(package)
        (self.cache / "some-model.pure-q8_0.gguf").touch()

    def stub(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STUB)
        path.chmod(0o755)
        return path

    def compare(self, *words: str, status: int = 0, fails: str = "", nonsense: str = "") -> str:
        """What it says; its document is self.document()."""
        environment = os.environ | {"XDG_CACHE_HOME": str(self.folder), "RESTKV_PROGRAM": str(self.restkv),
                                    "FAILS": fails, "NONSENSE": nonsense}
        done = subprocess.run([sys.executable, PEERS / "compare", "--quick", "--threads", "2", "--without", "llama.cpp",
                               *words], env=environment, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def document(self) -> str:
        return (self.cache / "quick.md").read_text()

    def rows(self) -> list[dict]:
        return json.loads(self.results().read_text())["measured"]

    def results(self) -> Path:
        return max(self.cache.glob("results-*.json"))

    def test_a_run_has_a_row_for_every_engine_task_and_round(self):
        self.compare("--without", "openvino")
        ours = [row for row in self.rows() if row["engine"] == "restkv"]
        self.assertEqual({row["version"] for row in ours}, {"abc1234"})
        at_depths = [row for row in self.rows() if row["section"] == "depth" and row["label"] == "restkv full"]
        self.assertEqual({(row["n_depth"], row["pair"]) for row in at_depths}, {(0, 1), (0, 2), (64, 1), (64, 2)})
        self.assertIn("| 64 | restkv full | 232.0 (232.0-232.0) |", self.document())
        self.assertIn("![one](quick/one.svg)", self.document())

    def test_where_processes_take_turns_the_machine_is_measured_after_each(self):
        self.compare("--without", "openvino", "--lengths", "", "--synthetic", "")
        self.assertIn("| 0 | restkv full | 90 (90-90) | 90 (90-90) |", self.document())  # as its process found it
        self.assertIn("| 64 | restkv full | 50 (50-50) | 50 (50-50) |", self.document())
        self.assertIn("memory was read at 20.0 (11.0-20.0) GB/s", self.document())

    def test_a_run_that_goes_on_measures_what_the_run_before_it_was_asked_for(self):
        self.compare("--without", "openvino", "--lengths", "", "--synthetic", "", "--depths", "0")
        before = self.rows()
        self.compare("--without", "openvino", "--resume", str(self.results()))
        self.assertEqual(self.rows(), before)

    def test_whole_prompts_without_depths_are_compared_too(self):
        self.compare("--without", "openvino", "--synthetic", "", "--depths", "", "--lengths", "64")
        engines_of = {row["engine"] for row in self.rows() if row["section"] == "length"}
        self.assertEqual(engines_of, {"restkv", "ik_llama.cpp"})

    def test_a_trial_is_never_written_into_the_documents(self):
        self.compare("--without", "openvino", "--lengths", "", "--synthetic", "", "--depths", "0")
        (self.cache / "quick.md").unlink()
        page = PEERS.parent.parent / "docs" / "performance.md"
        before = page.read_text()
        environment = os.environ | {"XDG_CACHE_HOME": str(self.folder), "RESTKV_PROGRAM": str(self.restkv)}
        done = subprocess.run([sys.executable, PEERS / "compare", "--report", str(self.results())], env=environment,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("A trial with tiny lengths", self.document())
        self.assertEqual(page.read_text(), before)

    def test_an_engine_that_prints_nonsense_is_noted_and_the_others_go_on(self):
        self.compare("--without", "openvino", "--lengths", "", "--synthetic", "", "--depths", "0", nonsense="ik_bench.py")
        self.assertEqual({row["engine"] for row in self.rows()}, {"restkv"})
        self.assertIn("no rows in what python printed", self.document())

    def test_results_that_cannot_be_read_are_named_in_one_line(self):
        odd = self.folder / "odd.json"
        odd.write_text("{")
        for words in (("--resume",), ("--report",), ("--against",)):
            for path in (self.folder / "missing.json", odd):
                said = self.compare(*words, str(path), status=1)
                self.assertTrue(said.startswith(f"compare: {path}: "), said)
                self.assertEqual(said.count("\n"), 1, said)

    def test_where_the_machine_cannot_be_measured_beside_a_row_the_run_goes_on(self):
        words = ("--without", "openvino", "--lengths", "", "--synthetic", "")
        self.compare(*words, "--depths", "0")
        self.compare(*words, "--depths", "0,64", "--resume", str(self.results()), fails="--machine -p 0 -n 0")
        in_turns = [row for row in self.rows() if row["engine"] == "restkv" and row["n_depth"] == 64]
        self.assertEqual(len(in_turns), 8)  # two of ours, two rounds, of reading and of writing
        for row in in_turns:
            self.assertIn("ended with 1", row["machine_unmeasured"])
            self.assertFalse([key for key in row if "limit" in key or "machine_g" in key])
        text = self.document()
        self.assertIn("The machine could not be measured beside eight of the rows of depth 64", text)
        self.assertIn("The machine could not be measured at the end: ", text)

    def test_openvino_is_beside_both_of_ours_at_depths_and_for_whole_prompts(self):
        self.compare("--without", "ik_llama.cpp", "--synthetic", "")
        for section in ("openvino", "openvino_length"):
            rows = [row for row in self.rows() if row["section"] == section]
            self.assertEqual(collections.Counter(row["label"] for row in rows),  # two depths or lengths, two rounds
                             {"restkv full": 4, "restkv rest-kv 64": 4, "OpenVINO GenAI full": 4,
                              "OpenVINO GenAI evicting to 192": 4})
            self.assertTrue(all(row["peak_bytes"] > 0 for row in rows))
        text = self.document()
        self.assertIn("## OpenVINO GenAI, on some-model.pure-q8_0.gguf", text)
        self.assertIn("| 128 | restkv full | 2 | 0.39 (0.39-0.39) | 1.44 (1.44-1.44) | 1.44 (1.44-1.44) | 700 (700-700) |", text)
        self.assertIn("cannot read some-model.gguf", text)
        before = self.rows()
        self.compare("--without", "ik_llama.cpp", "--synthetic", "", "--resume", str(self.results()))
        self.assertEqual(self.rows(), before)

    def test_a_model_given_for_openvino_is_not_replaced(self):
        words = ("--without", "ik_llama.cpp", "--depths", "0", "--lengths", "", "--synthetic", "")
        self.compare(*words, "--openvino-model", "other.gguf")
        self.assertFalse([row for row in self.rows() if row["section"].startswith("openvino")])
        self.assertIn("cannot read other.gguf", self.document())

    def test_a_run_has_rows_of_one_model_of_openvino_s(self):
        words = ("--without", "ik_llama.cpp", "--depths", "0", "--lengths", "", "--synthetic", "")
        for given, other in (((), ("--openvino-model", "other.pure-q8_0.gguf")),
                             (("--openvino-model", "other.pure-q8_0.gguf"), ())):
            self.compare(*words, *given)
            before = self.rows()
            said = self.compare(*words, *other, "--resume", str(self.results()), status=1)
            self.assertIn("which takes a run of its own", said)
            self.assertEqual(self.rows(), before)
            self.compare(*words, *given, "--resume", str(self.results()))
            self.compare(*words, *other, "--without", "openvino", "--resume", str(self.results()))
            self.assertEqual(self.rows(), before)
            self.results().unlink()

    def test_the_document_is_written_again_from_the_results(self):
        self.compare("--without", "openvino")
        first = self.document()
        self.compare("--report", str(self.results()))
        self.assertEqual(self.document(), first)
        other = self.folder / "machine" / "README.md"
        other.parent.mkdir()
        other.write_text("# A machine\n")
        self.compare("--report", str(self.results()), "--document", str(other))
        self.assertTrue(other.read_text().startswith("# A machine\n"))
        self.assertIn("\n## Whole prompts\n", other.read_text())
        self.assertIn("![one](one.svg)", other.read_text())
        self.assertEqual(self.document(), first)

    def test_a_run_goes_on_with_what_it_knows(self):
        self.compare("--without", "openvino")
        before = self.rows()
        self.compare("--without", "openvino", "--resume", str(self.results()))
        self.assertEqual(self.rows(), before)

    def test_where_turns_are_taken_only_what_is_missing_is_measured(self):
        words = ("--without", "openvino", "--lengths", "", "--synthetic", "")
        self.compare(*words, fails="q8_0.* jsonl|f16.* jsonl")  # ik_llama.cpp's settings
        before = self.rows()
        self.assertIn("@ d64: it is told to fail", self.document())
        self.assertFalse([row for row in before if row["section"] == "depth" and row["n_depth"] == 64
                          and row["engine"] != "restkv"])
        self.compare(*words, "--resume", str(self.results()))
        self.assertEqual(self.rows()[:len(before)], before)
        new = self.rows()[len(before):]
        self.assertEqual(collections.Counter((row["engine"], row["n_prompt"], row["n_gen"]) for row in new),
                         {("ik_llama.cpp", 32, 0): 2, ("ik_llama.cpp", 0, 4): 2})
        self.assertNotIn("told to fail", self.document())

    def test_a_round_that_was_cut_short_is_made_whole(self):
        words = ("--without", "openvino", "--lengths", "", "--synthetic", "")
        self.compare(*words)
        whole = json.loads(self.results().read_text())
        cut = [row for row in whole["measured"]
               if (row["section"], row["n_depth"], row["label"], row["n_gen"], row["pair"]) != ("depth", 64, "restkv full", 4, 2)]
        self.assertEqual(len(cut), len(whole["measured"]) - 1)
        self.results().write_text(json.dumps(whole | {"measured": cut}))
        self.compare(*words, "--resume", str(self.results()))
        self.assertEqual(self.rows()[:-1], cut)
        self.assertEqual((self.rows()[-1]["label"], self.rows()[-1]["n_gen"]), ("restkv full", 4))

    def test_a_second_run_is_held_against_the_first(self):
        self.compare("--without", "openvino", "--depths", "0")
        first = self.results()
        self.assertNotIn("## Beside another run", self.document())
        for words in (("--report", str(first)), ("--without", "openvino", "--depths", "0", "--resume", str(first))):
            said = self.compare(*words, "--against", str(first))
            self.assertIn("10 of 10 medians lie within the least-most of the run of ", said)
            self.assertIn("## Beside another run\n\n10 of 10 medians", self.document())

    def test_a_run_of_other_settings_is_not_held_against(self):
        self.compare("--without", "openvino", "--depths", "0", "--lengths", "", "--synthetic", "")
        said = self.compare("--without", "openvino", "--gen", "5", "--against", str(self.results()), status=1)
        self.assertIn("--against is of other settings: gen 4, not 5", said)


if __name__ == "__main__":
    unittest.main()
