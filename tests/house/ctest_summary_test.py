#!/usr/bin/env python3
"""tools/ctest_summary against made-up suites: ctest_summary_test.py PATH_OF_THE_TOOL"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)

PASS = "add_test(pass true)\n"
FAIL = "add_test(fail false)\n"
GONE = "add_test(gone /no/such/program)\n"
SLOW = "add_test(slow sleep 9)\nset_tests_properties(slow PROPERTIES TIMEOUT 0.2)\n"
SKIP = "add_test(skip echo SKIPPED)\nset_tests_properties(skip PROPERTIES SKIP_REGULAR_EXPRESSION SKIPPED)\n"


def summary(suite: str, path: str | None = None) -> tuple[int, str]:
    """Exit status and last line."""
    environment = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    with tempfile.TemporaryDirectory() as build:
        (Path(build) / "CTestTestfile.cmake").write_text(suite, encoding="utf-8")
        done = subprocess.run([sys.executable, TOOL, build], capture_output=True, text=True,
                              env=environment, check=False)
    return done.returncode, done.stdout.splitlines()[-1]


class CtestSummary(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(summary(PASS + SKIP), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertEqual(summary(PASS + FAIL), (1, "1 passed, 1 failed, 0 skipped"))

    def test_what_could_not_start_or_end_has_failed(self):
        self.assertEqual(summary(PASS + GONE + SLOW), (1, "1 passed, 2 failed, 0 skipped"))

    def test_no_tests_is_a_failure(self):
        self.assertEqual(summary(""), (1, "0 passed, 0 failed, 0 skipped"))

    def test_a_crash_of_ctest_is_a_failure(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "ctest"
            broken.write_text("#!/bin/sh\nkill -SEGV $$\n", encoding="utf-8")
            broken.chmod(0o755)
            self.assertEqual(summary(PASS, path=f"{folder}:{os.environ['PATH']}"),
                             (1, "0 passed, 1 failed, 0 skipped"))

    def test_help_is_no_build_folder(self):
        for word, status in (("--help", 0), ("-h", 0), ("--nope", 1)):
            done = subprocess.run([sys.executable, TOOL, word], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, status)
            self.assertIn("tools/ctest_summary BUILD_DIR", done.stdout if status == 0 else done.stderr)
            self.assertFalse(Path(word).exists())


if __name__ == "__main__":
    unittest.main()
