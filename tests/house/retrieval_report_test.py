#!/usr/bin/env python3
"""bench/end_to_end/retrieval_report on made-up rows: retrieval_report_test.py PATH_OF_THE_TOOL"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)
PAGE = "before\n<!-- written by retrieval_report: begin -->\n<!-- written by retrieval_report: end -->\nafter\n"


def report(rows: list[dict]) -> tuple[subprocess.CompletedProcess, str]:
    """How it ended, and the page that it wrote into."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        page = Path(folder) / "methods.md"
        page.write_text(PAGE, encoding="utf-8")
        done = subprocess.run([sys.executable, TOOL, "-o", folder, path], capture_output=True, text=True, check=False)
        return done, page.read_text(encoding="utf-8")


def row(method: str, budget: str, right: int, mode: str = "aware") -> dict:
    return {"method": method, "budget": budget, "mode": mode, "right": right, "of": 20, "prefill": "dense"}


class RetrievalReport(unittest.TestCase):
    def test_a_table_has_a_column_for_each_budget(self):
        done, page = report([row("full", "", 19), row("rest-kv", "64", 18), row("rest-kv", "128", 19)])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| `rest-kv` | 18 | 19 |", page)
        self.assertIn("| `full` | 19 | 19 |", page)
        self.assertTrue(page.startswith("before\n") and page.endswith("after\n"))

    def test_percents_and_reading_alone_have_no_column(self):
        done, page = report([row("rest-kv", "64", 18), row("snapkv", "10%", 3), row("full + quest", "", 7)])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| `rest-kv` | 18 |", page)
        self.assertNotIn("10%", page)

    def test_rows_of_other_numbers_of_questions_do_not_mix(self):
        done, page = report([row("rest-kv", "64", 18), row("snapkv", "64", 3) | {"of": 10}])
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(page, PAGE)

    def test_a_file_that_cannot_be_read_is_named_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            odd = Path(folder) / "odd.jsonl"
            odd.write_text("no row\n", encoding="utf-8")
            for path in (Path(folder) / "missing.jsonl", odd):
                done = subprocess.run([sys.executable, TOOL, "-o", folder, path], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.startswith(f"retrieval_report: {path}: "), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
