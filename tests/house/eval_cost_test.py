#!/usr/bin/env python3
"""bench/eval_cost with a made-up restkv: eval_cost_test.py PATH_OF_THE_TOOL"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)
# Writes a row for each method, whose answer is ANSWER.format(method, methods of the run).
RESTKV = """#!/usr/bin/env python3
import sqlite3, sys
def option(name): return sys.argv[sys.argv.index(name) + 1]
connection = sqlite3.connect(option("--db"))
connection.execute("CREATE TABLE results (task, length, sample, seed, variant, prediction, batch, decode_ms)")
methods = option("--policies").split(",")
for method in methods:
    answer = "{answer}".format(method, len(methods))
    connection.execute("INSERT INTO results VALUES ('vt', 1024, '0', 42, ?, ?, ?, ?)",
                       (method, answer, len(methods), len(methods) * 1.5))
connection.commit()
"""


def compare(answer: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "restkv"
        program.write_text(RESTKV.replace("{answer}", answer), encoding="utf-8")
        program.chmod(0o755)
        return subprocess.run([sys.executable, TOOL, "--program", str(program), "--separate", "--methods",
                               "full,rest-kv", "--budgets", "64"], capture_output=True, text=True, check=False)


class EvalCost(unittest.TestCase):
    def test_times_and_company_may_differ(self):
        done = compare("an answer of {}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 rows of 1 prompts together, 2 alone: 0 differ", done.stdout)

    def test_an_answer_that_depends_on_company_is_found(self):
        done = compare("{} of {}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("differs: vt 1024 0 42 rest-kv", done.stdout)
        self.assertIn("2 differ", done.stdout)


if __name__ == "__main__":
    unittest.main()
