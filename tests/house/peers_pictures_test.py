#!/usr/bin/env python3
"""What bench/peers/pictures.py draws, without drawing it: peers_pictures_test.py FOLDER_OF_THE_MODULE"""

import sys
import unittest
from unittest import mock

sys.path.insert(0, sys.argv.pop(1))
sys.modules["matplotlib"] = mock.MagicMock()
import pictures  # noqa: E402


def row(section: str, engine: str, setting: str, **values) -> dict:
    return {"section": section, "engine": engine, "label": f"{engine} {setting}", "n_depth": 0, "n_prompt": 0,
            "prompt_ts": 0.0, "gen_ts": 0.0, "peak_bytes": 0} | values


class Pictures(unittest.TestCase):
    rows = [row("depth", "peer", "a", gen_ts=10.0), row("depth", "peer", "b", gen_ts=30.0, n_depth=8),
            row("openvino", "OpenVINO", "full", gen_ts=20.0), row("openvino", "OpenVINO", "evicting", gen_ts=40.0),
            row("openvino_length", "OpenVINO", "full", prompt_ts=50.0, n_prompt=100, peak_bytes=7 << 20),
            row("openvino_length", "restkv", "full", prompt_ts=100.0, n_prompt=100, peak_bytes=3 << 20)]
    data = {"measured": rows, "prompt": 512, "gen": 64}

    def test_a_peer_is_one_line_in_whatever_setting(self):
        drawn = {name: found for name, found, *_ in pictures.pictures(self.data, "", "depth", "length")}
        self.assertEqual(drawn["writing_by_depth.svg"], {"peer": [(0, 10.0, 10.0, 10.0), (8, 30.0, 30.0, 30.0)]})
        self.assertEqual(drawn["reading_by_depth.svg"], {})

    def test_openvino_has_pictures_of_its_own_that_name_the_model(self):
        drawn = {name: (found, title) for name, found, title, *_ in
                 pictures.pictures(self.data, "openvino_", "openvino", "openvino_length", "m.gguf")}
        self.assertEqual(list(drawn["openvino_writing_by_depth.svg"][0]), ["OpenVINO full", "OpenVINO evicting"])
        self.assertEqual(drawn["openvino_first_token_by_length.svg"],
                         ({"OpenVINO full": [(100, 2.0, 2.0, 2.0)], "restkv full": [(100, 1.0, 1.0, 1.0)]},
                          "Time to the first token\nm.gguf"))
        self.assertEqual(drawn["openvino_peak_memory_by_length.svg"][0]["restkv full"], [(100, 3.0, 3.0, 3.0)])


if __name__ == "__main__":
    unittest.main()
