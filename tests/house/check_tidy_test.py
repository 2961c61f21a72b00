#!/usr/bin/env python3
"""tools/check_tidy with a clang-tidy that only looks for the word BAD: check_tidy_test.py PATH_OF_THE_TOOL"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)

# Writes down which files it was asked for.
STAND_IN = """#!/bin/sh
[ "$1" = --version ] && { echo "version $STAND_IN_VERSION"; exit; }
for source; do :; done
basename "$source" >>"$STAND_IN_LOG"
! grep BAD "$source"
"""


class CheckTidy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.base = Path(folder.name).resolve()
        self.flags = ["-O2"]
        self.version = "1"
        self.make_tree("tree")
        stand_in = self.base / "bin" / "clang-tidy-19"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN, encoding="utf-8")
        stand_in.chmod(0o755)

    def make_tree(self, name: str):
        self.root = self.base / name
        (self.root / "tools").mkdir(parents=True)
        shutil.copy(TOOL, self.root / "tools" / "check_tidy")
        self.write("include/restkv/deep.h", "int deep();\n")
        self.write("src/base/a.h", '#include "restkv/deep.h"\n')
        self.write("src/base/a.cc", '#include "base/a.h"\n')
        self.write("src/base/b.cc", "int b;\n")
        self.write(".clang-tidy", "Checks: 'x'\n")

    def write(self, name: str, text: str):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run_tool(self, *files: str, options: tuple[str, ...] = ()) -> tuple[int, list[str], str]:
        """Exit status, which files clang-tidy read, what was printed."""
        sources = [self.root / "src/base" / name for name in ("a.cc", "b.cc")]
        entries = [{"file": str(one), "command": " ".join(["c++", *self.flags, str(one)])} for one in sources]
        self.write("build/compile_commands.json", json.dumps(entries))
        log = self.base / "log"
        log.write_text("", encoding="utf-8")
        environment = {**os.environ, "PATH": f"{self.base / 'bin'}:{os.environ['PATH']}", "STAND_IN_LOG": str(log),
                       "STAND_IN_VERSION": self.version, "XDG_CACHE_HOME": str(self.base / "cache")}
        done = subprocess.run([sys.executable, self.root / "tools/check_tidy", *options, "build", *files], cwd=self.root,
                              env=environment, capture_output=True, text=True, check=False)
        return done.returncode, sorted(log.read_text(encoding="utf-8").split()), done.stdout + done.stderr

    def test_clean_files_are_read_once(self):
        self.assertEqual(self.run_tool()[:2], (0, ["a.cc", "b.cc"]))
        self.assertEqual(self.run_tool()[:2], (0, []))

    def test_another_clone_profits(self):
        self.run_tool()
        self.make_tree("clone")
        self.assertEqual(self.run_tool()[:2], (0, []))

    def test_what_changed_is_read_again(self):
        for name, text in [("src/base/a.cc", '#include "base/a.h"\nint a;\n'), ("src/base/a.h", "int a();\n"),
                           ("src/base/a.h", '#include "restkv/deep.h"\n// more\n'),
                           ("include/restkv/deep.h", "int deeper();\n")]:
            self.run_tool()
            self.write(name, text)
            with self.subTest(name=name):
                self.assertEqual(self.run_tool()[:2], (0, ["a.cc"]))

    def test_time_can_run_out(self):
        status, seen, said = self.run_tool(options=("--minutes", "0"))
        self.assertEqual((status, seen), (0, []))
        self.assertIn("0 of 2 files", said)
        self.assertEqual(self.run_tool(options=("--minutes", "5"))[:2], (0, ["a.cc", "b.cc"]))

    def test_settings_count(self):
        self.run_tool()
        self.write(".clang-tidy", "Checks: 'y'\n")
        self.assertEqual(self.run_tool()[1], ["a.cc", "b.cc"])
        self.write("src/base/.clang-tidy", "Checks: 'z'\n")
        self.assertEqual(self.run_tool()[1], ["a.cc", "b.cc"])
        self.flags = ["-O3"]
        self.assertEqual(self.run_tool()[1], ["a.cc", "b.cc"])
        self.version = "2"
        self.assertEqual(self.run_tool()[1], ["a.cc", "b.cc"])

    def test_warnings_are_never_remembered(self):
        self.write("src/base/b.cc", "BAD\n")
        for read in (["a.cc", "b.cc"], ["b.cc"], ["b.cc"]):
            status, seen, said = self.run_tool()
            self.assertEqual((status, seen), (1, read))
            self.assertIn("src/base/b.cc", said)

    def test_only_what_was_asked_for(self):
        self.assertEqual(self.run_tool("src/base/b.cc")[:2], (0, ["b.cc"]))

    def test_unknown_files_are_an_error(self):
        status, seen, said = self.run_tool("src/base/c.cc")
        self.assertEqual((status, seen), (2, []))
        self.assertIn("c.cc", said)

    def test_help_is_no_build_folder(self):
        for words, status in ((["--help"], 0), (["-h"], 0), (["--nope"], 1), (["--minutes", "--help"], 1)):
            done = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("tools/check_tidy [--minutes N] BUILD_DIR", done.stdout if status == 0 else done.stderr)


if __name__ == "__main__":
    unittest.main()
