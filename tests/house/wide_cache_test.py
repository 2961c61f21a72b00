#!/usr/bin/env python3
"""bench/wide_cache without its programs: wide_cache_test.py PATH_OF_THE_TOOL"""

import subprocess
import sys
import tempfile
import unittest

TOOL = sys.argv.pop(1)


class WideCache(unittest.TestCase):
    def test_a_missing_program_is_named_with_what_builds_it(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, TOOL, "--programs", folder], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, f"wide_cache: {folder}/bench_random_model is missing: `cmake --build build "
                                          "--target bench_random_model` builds it\n")


if __name__ == "__main__":
    unittest.main()
