#!/usr/bin/env python3
"""tools/compare_perplexity with texts that it cannot read: compare_perplexity_test.py PATH_OF_THE_TOOL"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)


class ComparePerplexity(unittest.TestCase):
    def test_a_text_that_cannot_be_read_is_named_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.gguf"
            model.touch()
            odd = Path(folder) / "odd.txt"
            odd.write_bytes(b"\xff\xfe")
            for path, reason in ((Path(folder) / "missing.txt", "No such file or directory"), (odd, "not UTF-8")):
                done = subprocess.run([sys.executable, TOOL, "-m", model, "-f", path], capture_output=True, text=True,
                                      check=False)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr, f"compare_perplexity: {path}: {reason}\n")


if __name__ == "__main__":
    unittest.main()
