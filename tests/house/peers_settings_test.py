#!/usr/bin/env python3
"""bench/peers/settings.py with made-up rates: peers_settings_test.py FOLDER_OF_THE_MODULE"""

import argparse
import sys
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop(1))
import settings  # noqa: E402
from engines import Engine, LlamaCpp  # noqa: E402


class Setting(Engine):
    name = "peer"

    def __init__(self, setting: str):
        self.setting = setting


class MadeUpRun:
    """rates: setting -> (reading, writing) of its first try, its second and so on; the last stays."""

    def __init__(self, rates: dict[str, list[tuple[float, float]]]):
        self.args = argparse.Namespace(without=[], prompt=512, gen=64, resume=None)
        self.data = {"settings": {}, "versions": {}, "measured": []}
        self.rates, self.tries, self.forgotten = rates, [], []

    def forget(self, start: str) -> None:
        self.forgotten.append(start)

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def measure(self, section, engine, model, task, pair):
        self.tries.append(engine.setting)
        found = self.rates[engine.setting]
        return dict(zip(settings.KINDS, found[min(pair, len(found) - 1)])) if found else None


def chosen_of(run: MadeUpRun) -> list[tuple[str, int, int]]:
    with mock.patch.dict(settings.PEERS, {"peer": [Setting(name) for name in run.rates]}, clear=True):
        return [(engine.setting, *counts) for engine, *counts in settings.best_settings(run, "model", 0).get("peer", [])]


class Choice(unittest.TestCase):
    def test_the_best_for_reading_and_the_best_for_writing_go_on(self):
        run = MadeUpRun({"a": [(100.0, 10.0)], "b": [(50.0, 20.0)]})
        self.assertEqual(chosen_of(run), [("a", 512, 0), ("b", 0, 64)])
        self.assertEqual(run.tries, ["a", "b"])
        self.assertEqual(chosen_of(MadeUpRun({"a": [(100.0, 20.0)], "b": [(50.0, 10.0)]})), [("a", 512, 64)])

    def test_what_is_near_the_best_is_tried_again_and_the_median_counts(self):
        run = MadeUpRun({"a": [(100.0, 10.0)], "b": [(91.0, 30.0), (120.0, 30.0)], "far": [(89.0, 10.0)]})
        self.assertEqual(chosen_of(run), [("b", 512, 64)])
        self.assertEqual(run.tries, ["a", "b", "far", "a", "b", "a", "b"])

    def test_one_lucky_sample_does_not_decide(self):
        run = MadeUpRun({"a": [(100.0, 10.0), (80.0, 10.0)], "b": [(95.0, 30.0)]})
        self.assertEqual(chosen_of(run), [("b", 512, 64)])

    def test_settings_near_in_writing_alone_count_as_well(self):
        run = MadeUpRun({"a": [(100.0, 10.0)], "b": [(50.0, 9.5), (50.0, 11.0)]})
        self.assertEqual(chosen_of(run), [("a", 512, 0), ("b", 0, 64)])

    def test_what_cannot_be_measured_is_not_chosen(self):
        self.assertEqual(chosen_of(MadeUpRun({"a": [], "b": [(1.0, 1.0)]})), [("b", 512, 64)])
        self.assertEqual(chosen_of(MadeUpRun({"a": []})), [])


class GoingOn(unittest.TestCase):
    def going_on(self, rows: list[dict]) -> MadeUpRun:
        run = MadeUpRun({"a": [(100.0, 10.0)], "b": [(50.0, 20.0)]})
        run.args.resume = "earlier.json"
        run.data["settings"]["peer @ d0"] = {"prompt": "b", "gen": "b"}
        run.data["measured"] = rows
        return run

    def test_where_there_are_rounds_in_a_setting_it_stays(self):
        run = self.going_on([{"section": "depth", "engine": "peer", "n_depth": 0}])
        self.assertEqual(chosen_of(run), [("b", 512, 64)])
        self.assertEqual(run.tries, [])
        self.assertEqual(run.forgotten, ["peer: "] * 2)  # what was wrong with it has been put right

    def test_without_rounds_the_best_is_chosen_anew(self):
        for rows in ([], [{"section": "depth", "engine": "peer", "n_depth": 7}], [{"section": "setting", "engine": "peer", "n_depth": 0}]):
            self.assertEqual(chosen_of(self.going_on(rows)), [("a", 512, 0), ("b", 0, 64)])

    def for_whole_prompts(self, run: MadeUpRun) -> list[str]:
        with mock.patch.dict(settings.PEERS, {"peer": [Setting(name) for name in run.rates]}, clear=True):
            return [engine.setting for engine in settings.for_whole_prompts(run, "model")]

    def test_whole_prompts_are_read_in_the_setting_of_the_deepest(self):
        run = self.going_on([])
        run.data["settings"]["peer @ d8192"] = {"prompt": "a", "gen": "b"}
        self.assertEqual(self.for_whole_prompts(run), ["a"])
        self.assertEqual(run.tries, [])

    def test_without_depths_the_settings_are_tried_for_whole_prompts(self):
        run = MadeUpRun({"a": [(100.0, 10.0)], "b": [(50.0, 20.0)]})
        self.assertEqual(self.for_whole_prompts(run), ["a"])
        self.assertEqual(run.tries, ["a", "b"])


class Names(unittest.TestCase):
    def test_keys_alone_are_quantised_without_flash_attention(self):
        engine = LlamaCpp(0, "q8_0", "f16")
        self.assertEqual(engine.options, ["-fa", "0", "-ctk", "q8_0", "-ctv", "f16"])
        self.assertEqual(engine.label, "llama.cpp -fa 0 q8_0 keys, f16 values")
        self.assertEqual(LlamaCpp(1, "f16").label, "llama.cpp -fa 1 f16")  # as results of earlier runs have it


if __name__ == "__main__":
    unittest.main()
