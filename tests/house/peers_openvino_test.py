#!/usr/bin/env python3
"""bench/peers/openvino_bench.py without OpenVINO: peers_openvino_test.py FOLDER_OF_THE_MODULE"""

import contextlib
import io
import json
import sys
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop(1))
for module in ("numpy", "openvino", "openvino_genai"):
    sys.modules[module] = mock.MagicMock()
import openvino_bench  # noqa: E402


class MadeUpPipeline:
    """Reads 100 tokens a second, and writes 10. rate: of prompts that are not 1050 tokens long."""

    rate = 100

    def __init__(self, _args):
        MadeUpPipeline.calls = []

    def generate(self, n_prompt: int, n_gen: int) -> tuple[float, float]:
        self.calls.append((n_prompt, n_gen))
        return n_prompt / self.rate if n_prompt != 1050 else 1050 / 100, 0.1 if n_gen else 0.0


def rates(*words: str) -> list[float]:
    out = io.StringIO()
    with mock.patch.object(openvino_bench, "Pipeline", MadeUpPipeline), contextlib.redirect_stdout(out), \
            mock.patch.object(sys, "argv", ["openvino_bench.py", "-m", "model", "-t", "1", "--no-warmup", *words]):
        openvino_bench.main()
    return [row["avg_ts"] for row in json.loads(out.getvalue())]


class Bench(unittest.TestCase):
    def check(self, words: str, wanted: list[float], calls: list[tuple[int, int]]):
        for rate, right in zip(rates(*words.split()), wanted, strict=True):
            self.assertAlmostEqual(rate, right)
        self.assertEqual(MadeUpPipeline.calls, calls)

    def test_a_whole_prompt_is_read_once(self):
        self.check("-p 2048", [100.0], [(2048, 0)])

    def test_at_a_depth_both_share_one_reading_of_it(self):
        self.check("-p 50 -n 4 -d 1000", [100.0, 10.0], [(1000, 4), (1050, 0)])
        self.check("-p 50 -d 1000", [100.0], [(1000, 0), (1050, 0)])
        self.check("-n 4 -d 1000", [10.0], [(1000, 4)])

    def test_a_time_below_nothing_is_no_rate(self):
        with mock.patch.object(MadeUpPipeline, "rate", 50), self.assertRaises(SystemExit) as ended:
            rates(*"-p 50 -n 4 -d 1000".split())
        self.assertEqual(str(ended.exception), "the prompt of 1050 tokens was read sooner than that of 1000")

    def test_without_a_depth_nothing_is_taken_off(self):
        self.check("-p 50 -n 4", [100.0, 10.0], [(0, 4), (50, 0)])


if __name__ == "__main__":
    unittest.main()
