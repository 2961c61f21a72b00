#!/usr/bin/env python3
"""`make clean` in a copy of the Makefile: make_clean_test.py MAKEFILE"""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

MAKEFILE = sys.argv.pop(1)


class MakeClean(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        shutil.copy(MAKEFILE, self.folder / "Makefile")
        for name in ("build", "build-asan", "elsewhere"):
            (self.folder / name).mkdir()
            (self.folder / name / "CMakeCache.txt").touch()
        (self.folder / "src").mkdir()

    def clean(self, *words: str) -> tuple[int, set[str]]:
        """Exit status, and which folders are left."""
        done = subprocess.run(["make", "-C", self.folder, "clean", *words], capture_output=True, text=True, check=False)
        return done.returncode, {path.name for path in self.folder.iterdir() if path.is_dir()}

    def test_the_usual_folders_go(self):
        self.assertEqual(self.clean(), (0, {"src", "elsewhere"}))
        self.assertEqual(self.clean(), (0, {"src", "elsewhere"}))

    def test_a_folder_by_name_goes_alone(self):
        self.assertEqual(self.clean("BUILD=elsewhere"), (0, {"src", "build", "build-asan"}))
        self.assertEqual(self.clean("BUILD=elsewhere"), (0, {"src", "build", "build-asan"}))

    def test_what_is_no_build_folder_stays(self):
        every = {"src", "build", "build-asan", "elsewhere"}
        for name in ("", " ", ".", "src"):
            with self.subTest(name=name):
                status, left = self.clean(f"BUILD={name}")
                self.assertNotEqual(status, 0)
                self.assertEqual(left, every)


if __name__ == "__main__":
    unittest.main()
