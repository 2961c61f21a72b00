#!/usr/bin/env python3
"""tools/check_layers against made-up trees: check_layers_test.py PATH_OF_THE_TOOL"""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = sys.argv.pop(1)

RIGHT = {
    "include/restkv/a.h": '#pragma once\n#include <vector>\n#include "restkv/b.h"\n',
    "src/base/a.h": '#include <sys/stat.h>\n#include <omp.h>\n#include "restkv/a.h"\n',
    "src/kernels/amx/a.cc": '#include <hwy/highway.h>\n#include "base/a.h"\n#include "kernels/a.h"\n',
    "src/tensor/a.cc": '#include <ggml.h>\n#include <gguf.h>\n#include <oneapi/dnnl/dnnl.hpp>\n',
    "src/text/a.cc": "#include <llama.h>\n",
    "src/engine/a.cc": '#include "policies/a.h"\n#include "model/a.h"\n// #include "cli/a.h"\n',
    "src/cli/a.cc": '#include "engine/a.h"\n#include "text/a.h"\n#include <curl/curl.h>\n',
}

WRONG = [  # file, line that must be refused
    ("include/restkv/a.h", '#include "base/a.h"'),
    ("include/restkv/a.h", "#include <hwy/highway.h>"),
    ("include/restkv/a.h", "#include <unistd.h>"),
    ("src/base/a.cc", '#include "kernels/a.h"'),
    ("src/kernels/a.cc", '#include "tensor/a.h"'),
    ("src/kernels/amx/a.cc", '#include "cache/a.h"'),
    ("src/kernels/a.cc", "#include <ggml.h>"),
    ("src/model/a.cc", "#include <ggml-cpu.h>"),
    ("src/model/a.cc", "#  include <dnnl.hpp>"),
    ("src/model/a.h", '#include "policies/a.h"'),
    ("src/policies/a.cc", '#include "model/a.h"'),
    ("src/policies/a.cc", '#include "budgets/a.h"'),
    ("src/cache/a.cc", '#include "policies/a.h"'),
    ("src/engine/a.cc", "#include <llama.h>"),
    ("src/engine/a.cc", '#include "text/a.h"'),
    ("src/eval/a.cc", '#include "server/a.h"'),
    ("src/server/a.cc", '#include "eval/a.h"'),
    ("src/text/a.cc", "#include <ggml.h>"),
    ("src/cli/a.cc", '#include "a.h"'),
    ("src/cli/a.cc", '#include "ggml.h"'),
    ("src/cli/a.cc", '#include "cli/../engine/a.h"'),
    ("src/cli/a.cc", "#include <engine/a.h>"),
    ("src/attic/a.cc", "int a;"),
]


def check(files: dict[str, str]) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "src").mkdir()
        for name, text in files.items():
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True, check=False)


class CheckLayers(unittest.TestCase):
    def test_a_tree_in_order_passes(self):
        done = check(RIGHT)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_each_offence_is_named_by_file_and_line(self):
        for name, line in WRONG:
            with self.subTest(file=name, line=line):
                done = check({**RIGHT, name: f"// first line\n{line}\n"})
                self.assertEqual(done.returncode, 1)
                at = 1 if "attic" in name else 2
                self.assertTrue(done.stdout.startswith(f"{name}:{at}: "), done.stdout)
                self.assertEqual(done.stdout.count("\n"), 1, done.stdout)

    def test_no_tree_is_an_error(self):
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run([sys.executable, TOOL, empty], capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
