#!/usr/bin/env python3
"""bench/peers/against.py on made-up results: peers_against_test.py FOLDER_OF_THE_MODULE"""

import random
import statistics
import sys
import unittest

sys.path.insert(0, sys.argv.pop(1))
import against  # noqa: E402


def rows_of(ours: list[float], theirs: list[float], engine: str = "peer", **values) -> list[dict]:
    """Writing at depth 0, unless values say otherwise; one of each in every round."""
    made = []
    for pair, rates in enumerate(zip(ours, theirs)):
        for name, rate in zip(("restkv", engine), rates):
            made.append({"section": "depth", "engine": name, "label": f"{name} full", "pair": pair, "n_depth": 0,
                         "n_prompt": 0, "prompt_ts": 0.0, "gen_ts": rate} | values)
    return made


def run_of(rows: list[dict]) -> dict:
    return {"date": "2026-01-02", "versions": {"restkv": "abc"}, "measured": rows, "machine": {"cpu": "one"},
            "threads": 2}


class Against(unittest.TestCase):
    before = run_of(rows_of([20.0, 30.0, 50.0], [10.0, 10.0, 10.0]))  # 2 to 5 times

    def test_a_median_lies_within_or_not(self):
        for times, word in ((2.0, "yes"), (5.0, "yes"), (1.99, "**no**"), (5.01, "**no**")):
            text = against.against_text(run_of(rows_of([10 * times] * 3, [10.0] * 3)), self.before)
            self.assertIn(f"| writing at 0 | restkv full | peer | {times:.2f} | 2.00-5.00 | {word} |", text)
            self.assertIn(f"{int(word == 'yes')} of 1 medians lie within the least-most of the run of 2026-01-02", text)

    def test_only_what_both_have_counts(self):
        more = run_of(self.before["measured"] + rows_of([1.0], [1.0], n_depth=8))
        self.assertEqual(len(against.lines(more["measured"], self.before["measured"])), 1)
        self.assertEqual(against.summary(more, run_of([])), "No ratio was measured in both runs.")

    def test_all_that_the_tables_show_is_compared(self):
        rows = [row for depth in (0, 8, 16) for row in rows_of([9.0], [3.0], n_depth=depth, prompt_ts=4.0)]
        rows += rows_of([0.0], [0.0], section="length", n_prompt=64, prompt_ts=5.0)
        rows += rows_of([6.0], [3.0], engine="OpenVINO", section="openvino")
        rows += rows_of([0.0], [0.0], engine="OpenVINO", section="openvino_length", n_prompt=64, prompt_ts=5.0)
        rows += rows_of([12.0], [0.0], section="synthetic", n_depth=32)[:1]
        found = against.all_ratios(rows)
        self.assertEqual(found.pop(("writing at 0", "restkv full", "OpenVINO full")), [2.0])
        self.assertEqual(found.pop(("writing at 16", "restkv full", "peer")), [3.0])
        self.assertAlmostEqual(found.pop(("writing at 32, extrapolated", "restkv full", "peer"))[0], 4.0)
        self.assertEqual(set(found), {
            ("reading at 0", "restkv full", "peer"), ("reading at 8", "restkv full", "peer"),
            ("reading at 16", "restkv full", "peer"), ("writing at 0", "restkv full", "peer"),
            ("writing at 8", "restkv full", "peer"), ("first token of 64", "restkv full", "peer"),
            ("first token of 64", "restkv full", "OpenVINO full")})

    def test_how_often_chance_alone_leaves_the_spread(self):
        random.seed(1)
        for n, others in ((5, 5), (3, 5), (1, 3)):
            inside = 0
            for _ in range(20000):
                there = [random.random() for _ in range(others)]
                inside += min(there) <= statistics.median(random.random() for _ in range(n)) <= max(there)
            self.assertAlmostEqual(against.chance(n, others), inside / 20000, delta=0.02)
        self.assertEqual(against.chance(5, 1), 0.0)  # one round has no spread

    def test_runs_of_other_settings_are_told(self):
        other = run_of([]) | {"threads": 4, "machine": {"cpu": "two"}}
        self.assertEqual(against.differences(run_of([]), other), ["threads 4, not 2", "machine two, not one"])
        self.assertEqual(against.differences(run_of([]), run_of([])), [])


if __name__ == "__main__":
    unittest.main()
