#!/usr/bin/env python3
"""tools/check_words against made-up trees: check_words_test.py PATH_OF_THE_TOOL"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)

# In pieces, so that the check of this very tree finds nothing here.
WRONG = ["https://py" + "pi.org/simple", "see /" + "root/notes", "cd /" + "work/main", "/tmp/" + "w/x", "/" + "home/ann"]
RIGHT = ["bench/work/file", "~/.cache/restkv", "https://example.org/work/x", "$HOME/root/x", "/tmp"]


def check(files: dict[str, str], git: bool = True, untracked: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            (Path(root) / name).write_text(text, encoding="utf-8")
        if git:
            subprocess.run(["git", "init", "-q", root], check=True)
            subprocess.run(["git", "-C", root, "add", *(name for name in files if name not in untracked)], check=True)
        return subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)


class CheckWords(unittest.TestCase):
    def test_right_words_pass(self):
        done = check({"a.md": "\n".join(RIGHT)})
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_each_wrong_word_is_found(self):
        for word in WRONG:
            with self.subTest(word=word):
                done = check({"a.md": f"first line\n{word}\n"})
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stdout.startswith("a.md:2: "), done.stdout)

    def test_untracked_files_do_not_count(self):
        done = check({"a.md": "fine\n", "notes.md": WRONG[0]}, untracked=("notes.md",))
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_a_tree_without_git_is_read_whole(self):
        done = check({"a.md": WRONG[0]}, git=False)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
