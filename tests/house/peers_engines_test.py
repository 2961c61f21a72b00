#!/usr/bin/env python3
"""bench/peers/engines.py with programs that print what they are told: peers_engines_test.py FOLDER_OF_THE_MODULE"""

import json
import sys
import unittest

sys.path.insert(0, sys.argv.pop(1))
import engines  # noqa: E402

MIB = 1 << 20


class Prints:
    """Makes an engine's process one that touches some memory and prints these rows."""

    mib = 0
    rows: list = []

    def command(self, model: str, threads: int, task: engines.Task) -> list[str]:
        code = f"touched = b'1' * ({self.mib} << 20)\nimport time\nfor line in {self.rows!r}: print(line, flush=True)\n"
        if self.turns:
            return [sys.executable, "-c", code + "time.sleep(60)"]
        return [sys.executable, "-c", code.replace("print(line", "print('[' + line + ']'")]

    def turns_command(self, model: str, threads: int, task: engines.Task, reads: int, writes: int) -> list[str]:
        return self.command(model, threads, task)


class FakeRestkv(Prints, engines.Restkv):
    pass


class FakePeer(Prints, engines.IkLlama):
    pass


def peak(engine: Prints, mib: int, turns: bool, **row) -> float:
    """In MiB."""
    engine.mib, engine.turns, engine.rows = mib, turns, [json.dumps({"n_prompt": 8, "n_gen": 0, "avg_ts": 1.0} | row)]
    task = engines.Task(8, 0)
    if not turns:
        return engine.measure("model", 1, task).peak_bytes / MIB
    one = engines.Turns(engine, "model", 1, task, 1, 0)
    try:
        return one.next().peak_bytes / MIB
    finally:
        one.end()


class Peaks(unittest.TestCase):
    def test_a_peer_s_is_that_of_its_process(self):
        for turns in (False, True):
            self.assertTrue(100 < peak(FakePeer("f16"), 100, turns) < 200)

    def test_restkv_s_is_that_of_its_process_as_well(self):
        for turns in (False, True):
            # Its bench has started the count anew, so the system knows of less.
            self.assertEqual(peak(FakeRestkv(), 100, turns, peak_rss_bytes=150 * MIB, process_peak_rss_bytes=300 * MIB), 300)
            self.assertTrue(200 < peak(FakeRestkv(), 200, turns, process_peak_rss_bytes=150 * MIB) < 300)

    def test_a_build_that_counts_otherwise_is_not_compared(self):
        for turns in (False, True):
            with self.assertRaises(engines.Unavailable):
                peak(FakeRestkv(), 1, turns, peak_rss_bytes=150 * MIB)


class Turns(unittest.TestCase):
    def test_what_a_process_says_last_is_why_it_failed(self):
        engine = FakePeer("f16")
        engine.command = lambda *_: [sys.executable, "-c", "import sys; sys.exit('no cache')"]
        one = engines.Turns(engine, "model", 1, engines.Task(8, 0), 1, 0)
        with self.assertRaisesRegex(engines.Unavailable, "no cache"):
            one.next()
        one.end()

    def test_reading_and_writing_have_as_many_tests_as_are_asked(self):
        words = engines.Restkv().turns_command("model", 1, engines.Task(8, 4, 64), 2, 0)
        self.assertEqual([words[words.index(flag) + 1] for flag in ("-p", "-n")], ["8,8", "0"])


if __name__ == "__main__":
    unittest.main()
