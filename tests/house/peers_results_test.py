#!/usr/bin/env python3
"""bench/peers/results.py with a clock that stands still: peers_results_test.py FOLDER_OF_THE_MODULE"""

import argparse
import datetime
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, sys.argv.pop(1))
import results  # noqa: E402


def arguments() -> argparse.Namespace:
    return argparse.Namespace(resume=None, threads=1, quick=True, prompt=1, gen=1, budget=1, pairs=1, depths=[0, 7],
                              lengths=[9], synthetic=[], prefills=["xattention"], try_to=8192, turns_from=4096)


class Files(unittest.TestCase):
    def test_runs_of_one_second_have_files_of_their_own(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        clock = mock.Mock(wraps=datetime)
        clock.datetime.now.return_value = datetime.datetime(2026, 1, 2, 3, 4, 5)
        args = arguments()
        with mock.patch.object(results, "CACHE", Path(folder.name)), mock.patch.object(results, "datetime", clock), \
                mock.patch.object(results, "machine", lambda threads: {"cpu": "one", "load": 0.0}):
            runs = [results.Run(args, f"model-{n}") for n in range(3)]
        for run in runs:
            run.note(run.data["model"])
        self.assertEqual([json.loads(run.path.read_text())["notes"] for run in runs],
                         [["model-0"], ["model-1"], ["model-2"]])
        # What a run that goes on measures, unless told otherwise.
        self.assertEqual(results.asked_for(runs[0].path),
                         {"depths": [0, 7], "lengths": [9], "synthetic": [], "prefills": ["xattention"], "pairs": 1,
                          "prompt": 1, "gen": 1, "budget": 1, "try_to": 8192, "turns_from": 4096})

    def test_what_a_run_goes_on_with_is_added_to_what_it_was_asked_for(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with mock.patch.object(results, "CACHE", Path(folder.name)), \
                mock.patch.object(results, "machine", lambda threads: {"cpu": results.cpu(), "load": 0.0}), \
                mock.patch.object(results.Restkv, "version", lambda self: "abc1234"):
            args = arguments()
            first = results.Run(args, "model")
            args.resume, args.depths, args.lengths, args.pairs = first.path, [9, 7], [], 3
            second = results.Run(args, "model")
            second.save()
        asked = results.asked_for(first.path)
        self.assertEqual((asked["depths"], asked["lengths"], asked["pairs"]), ([0, 7, 9], [9], 3))

    def test_results_of_an_earlier_version_do_not_say_what_was_asked(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"measured": []}')
            file.flush()
            self.assertEqual(results.asked_for(Path(file.name)), {})


if __name__ == "__main__":
    unittest.main()
