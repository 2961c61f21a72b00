#!/usr/bin/env python3
"""Tables, text and page of bench/peers on made-up results: peers_report_test.py FOLDER_OF_THE_MODULE"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, sys.argv.pop(1))
import document  # noqa: E402
import machine  # noqa: E402
import peer_goals  # noqa: E402
import report  # noqa: E402
import tables  # noqa: E402


def row(engine: str, pair: int, **values) -> dict:
    made = {"section": "depth", "engine": engine, "label": engine, "pair": pair, "n_depth": 0, "n_prompt": 0}
    if engine == tables.RESTKV:
        made["label"] = "restkv full"
    return made | values


class Tables(unittest.TestCase):
    def test_ratios_are_taken_pair_by_pair(self):
        rows = [row("restkv", 0, gen_ts=10.0), row("restkv", 1, gen_ts=30.0), row("restkv", 2, gen_ts=99.0),
                row("peer", 0, gen_ts=5.0), row("peer", 1, gen_ts=10.0)]
        ours = tables.by_pair(rows, "depth", "gen_ts", {"n_depth": 0}, engine="restkv")
        theirs = tables.by_pair(rows, "depth", "gen_ts", {"n_depth": 0}, engine="peer")
        self.assertEqual(tables.ratios(ours, theirs), [2.0, 3.0])
        self.assertIn("| 0 | restkv full | 30.0 (10.0-99.0) | 2.50 (2.00-3.00) |", tables.depth_table(rows, "depth", "gen_ts"))

    def test_what_was_not_measured_has_no_line(self):
        rows = [row("restkv", 0, gen_ts=10.0), row("peer", 0, gen_ts=None)]
        self.assertNotIn("| peer |", tables.depth_table(rows, "depth", "gen_ts"))

    def test_a_first_token_comes_sooner_by_the_inverse_of_the_times(self):
        rows = [row("restkv", 0, section="length", n_prompt=1000, prompt_ts=100.0, peak_bytes=3 << 20),
                row("peer", 0, section="length", n_prompt=1000, prompt_ts=50.0, peak_bytes=7 << 20)]
        text = tables.length_table(rows, "length")
        self.assertIn("| 1000 | restkv full | 1 | 10.00 | 2.00 | 3 |", text)
        self.assertIn("| 1000 | peer | 1 | 20.00 |  | 7 |", text)

    def test_settings_of_openvino_are_peers_of_their_own(self):
        rows = [row(report.RESTKV, 1, prompt_ts=100.0, label="restkv rest-kv 1024"),
                row("OpenVINO GenAI", 1, prompt_ts=50.0, label="OpenVINO GenAI full"),
                row("OpenVINO GenAI", 1, prompt_ts=25.0, label="OpenVINO GenAI evicting to 1024")]
        at_depths = [found | {"section": "openvino", "gen_ts": 7.0} for found in rows]
        whole = [found | {"section": "openvino_length", "n_prompt": 1000, "peak_bytes": 5 << 20} for found in rows]
        text = report.openvino_text({"openvino_model": "m.gguf", "prompt": 512, "gen": 64, "measured": at_depths + whole},
                                    ["a/openvino_x.svg"])
        self.assertIn("| depth | engine | tokens/s | over OpenVINO GenAI full | over OpenVINO GenAI evicting to 1024 |", text)
        self.assertIn("| 0 | restkv rest-kv 1024 | 100.0 | 2.00 | 4.00 |", text)
        self.assertIn("| 0 | restkv rest-kv 1024 | 7.0 | 1.00 | 1.00 |", text)
        self.assertIn("| 1000 | restkv rest-kv 1024 | 1 | 10.00 | 2.00 | 4.00 | 5 |", text)
        self.assertIn("| 1000 | OpenVINO GenAI evicting to 1024 | 1 | 40.00 |  |  | 5 |", text)
        self.assertIn("![openvino x](a/openvino_x.svg)", text)

    def test_a_line_needs_three_depths(self):
        rows = [row("peer", 0, n_depth=depth, gen_ts=1 / (1 + depth)) for depth in (0, 1, 2)]
        self.assertAlmostEqual(tables.seconds_a_token(rows, "peer", 9), 10.0)
        self.assertIsNone(tables.seconds_a_token(rows[:2], "peer", 9))

    def test_shares_are_percent(self):
        rows = [row("restkv", 0, prompt_limit_share=0.5, gen_limit_share=0.25)]
        self.assertIn("| 0 | restkv full | 50 | 25 |", tables.limit_table(rows))

    def test_shares_are_of_what_the_machine_did_then(self):
        lines = ["machine: 1 thread  1.0 GFLOPS f32, 1.0 GB/s read",
                 "machine: 2 threads  50.0 GFLOPS f32, 100.0 GFLOPS bf16 AVX-512, 200.0 GFLOPS int8 AVX-512 VNNI, "
                 "20.5 GB/s read", "machine: 20 threads  1.0 GFLOPS f32, 1.0 GB/s read"]
        speed = machine.Speed.of(lines, 2)
        self.assertIsNone(machine.Speed.of(lines, 4))
        self.assertEqual(speed, machine.Speed(gflops=100.0, product_gflops=200.0, gbps=20.5))
        made = {f"gen_{name}": value for name, value in
                {"gflops": 50.0, "attention_gflops": 40.0, "gbps": 8.2, "limit_share": 0.9}.items()}
        self.assertEqual(speed.held_against(made), {
            "gen_limit_share": 10 / 200 + 40 / 100, "gen_limit": "flops", "gen_machine_gbps": 20.5,
            "gen_machine_gflops": 100.0, "gen_machine_product_gflops": 200.0})
        self.assertEqual(speed.held_against(made | {"gen_gbps": 20.5})["gen_limit_share"], 1.0)
        self.assertEqual(speed.held_against({"gen_ts": 5.0}), {})  # a peer's row

    def test_all_that_was_tried_is_told(self):
        rows = [row("peer", pair, section="setting", label=label, n_prompt=512, prompt_ts=rate, gen_ts=rate / 10)
                for label, rates in (("peer a", (10.0, 30.0, 20.0)), ("peer b", (5.0,))) for pair, rate in enumerate(rates)]
        data = {"settings": {"peer @ d0": {"prompt": "a", "gen": "a"}}, "prompt": 512, "measured": rows}
        text = report.settings_text(data)
        self.assertIn("- peer @ d0: reading a; writing a\n", text)
        self.assertIn("| 0 | peer a | 3 | 20.0 (10.0-30.0) | 2.0 (1.0-3.0) |\n| 0 | peer b | 1 | 5.0 | 0.5 |", text)
        self.assertIn("and three times, in turn", text)
        data["measured"] = rows[-1:]
        self.assertNotIn("in turn", report.settings_text(data))

    def test_the_bandwidth_of_a_row_counts_once(self):
        both = row("restkv", 0, prompt_machine_gbps=10.0, gen_machine_gbps=10.0)  # of one process
        alone = [row("restkv", pair, prompt_machine_gbps=rate) for pair, rate in enumerate((20.0, 30.0))]
        self.assertIn("memory was read at 20.0 (10.0-30.0) GB/s", tables.bandwidth([both, *alone]))

    def test_the_bandwidth_over_all_rows_is_told(self):
        rows = [row("restkv", pair, gen_machine_gbps=rate) for pair, rate in enumerate((31.9, 35.0, 54.6))]
        self.assertIn("memory was read at 35.0 (31.9-54.6) GB/s", tables.bandwidth(rows))
        self.assertEqual(tables.bandwidth([row("restkv", 0), row("peer", 0)]), "")


class Goals(unittest.TestCase):
    def test_what_is_missed_is_bold(self):
        rows = [row("restkv", pair, n_depth=8192, gen_ts=rate) for pair, rate in enumerate((14.0, 15.0, 99.0))]
        rows += [row("ik_llama.cpp", pair, n_depth=8192, gen_ts=10.0) for pair in range(3)]
        rows += [row("llama.cpp", pair, n_depth=8192, gen_ts=6.26) for pair in range(3)]
        text = peer_goals.goals_text({"measured": rows, "budget": 1024})
        self.assertIn("| times as fast as | ik_llama.cpp: goal | reached | llama.cpp: goal | reached |", text)
        # 15 / 6.26 is 2.396, which does not reach 2.4.
        self.assertIn("| writing, full, depth 8192 | 1.5 | 1.50 (1.40-9.90) | 2.4 | **2.396 (2.236-15.815)** |", text)

    def test_nothing_is_said_of_what_was_not_measured(self):
        rows = [row("restkv", 0, n_depth=8192, gen_ts=30.0), row("llama.cpp", 0, n_depth=8192, gen_ts=10.0),
                row("ik_llama.cpp", 0, gen_ts=10.0)]
        text = peer_goals.goals_text({"measured": rows, "budget": 1024})
        self.assertEqual(text.splitlines()[6:], ["| writing, full, depth 8192 | 1.5 | not measured | 2.4 | 3.00 |"])
        self.assertEqual(peer_goals.goals_text({"measured": rows[:1], "budget": 1024}), "")

    def test_patterns_and_budgets_have_goals_of_their_own(self):
        rows = [row("restkv", 0, section="length", label=label, n_prompt=32768, prompt_ts=rate)
                for label, rate in (("restkv full", 20.0), ("restkv rest-kv 1024", 10.0), ("restkv rest-kv 1024, some", 30.0))]
        rows.append(row("llama.cpp", 0, section="length", n_prompt=32768, prompt_ts=5.0))
        text = peer_goals.goals_text({"measured": rows, "budget": 1024})
        self.assertIn("| first token of 32768, rest-kv 1024 | 2.5 | **2.00** |", text)
        self.assertIn("| first token of 32768, rest-kv 1024, some | 5 | 6.00 |", text)
        self.assertNotIn("first token", peer_goals.goals_text({"measured": rows, "budget": 512}))

    def test_made_up_rows_meet_what_is_extrapolated(self):
        rows = [row("llama.cpp", 0, n_depth=depth, gen_ts=1 / (1 + depth)) for depth in (0, 1, 2)]
        rows.append(row("restkv", 0, section="synthetic", label="restkv rest-kv 1024", n_depth=131072, gen_ts=0.01))
        self.assertIn("| 20 | 1310.73 |", peer_goals.goals_text({"measured": rows, "budget": 1024}))


class Notes(unittest.TestCase):
    def test_parts_of_a_run_are_told(self):
        rows = [row("restkv", pair, run=run) for run, pairs in (("a", (0,)), ("b", (1, 2))) for pair in pairs]
        self.assertEqual(report.measured_in_parts(rows),
                         ["The processes of depth 0 were measured in two parts, one round and later two."])
        self.assertEqual(report.measured_in_parts(rows[1:]), [])

    def test_rows_without_the_machine_beside_them_are_told(self):
        rows = [row("restkv", pair, n_depth=8, machine_unmeasured="it ended with 1") for pair in range(2)]
        self.assertEqual(report.without_machine([*rows, row("restkv", 2, n_depth=8)]),
                         ["The machine could not be measured beside two of the rows of depth 8, so they have no share of its "
                          "limit: it ended with 1."])

    def test_rounds_are_those_that_were_measured(self):
        rows = [row("restkv", pair, n_depth=depth) for depth, pairs in ((0, range(5)), (8192, range(2))) for pair in pairs]
        self.assertEqual(report.rounds_of(rows), "2 to 5 rounds")
        self.assertEqual(report.rounds_of(rows[:5]), "5 rounds")
        self.assertEqual(report.rounds_of(rows[:1]), "1 round")

    def test_versions_of_sections_are_told(self):
        data = {"versions": {"restkv": "new"},
                "measured": [row("restkv", pair) for pair in range(3)]
                + [row("restkv", 0, section="length", n_prompt=1, version="old")]}
        self.assertEqual(report.restkv_version(data), "new (of whole prompts: old)")

    def test_folders_are_not_repeated(self):
        self.assertEqual(report.clean("cannot read /a/b/model.gguf here"), "cannot read model.gguf here")


class Page(unittest.TestCase):
    section = "## Side by side\n\nText.\n\n### Reading\n\nMore.\n"

    def test_a_page_with_sections_gets_one_more(self):
        page = document.page_with(self.section, "# Speed\n\n## Goals\n")
        self.assertEqual(page, f"# Speed\n\n## Goals\n\n{document.BEGIN}\n{self.section}{document.END}\n")
        again = document.page_with("## Side by side\n\nNew.\n", page + "\nAfter.\n")
        self.assertEqual(again, f"# Speed\n\n## Goals\n\n{document.BEGIN}\n## Side by side\n\nNew.\n{document.END}\nAfter.\n")

    def test_on_a_page_of_its_own_titles_are_a_level_higher(self):
        own = f"{document.BEGIN}\nText.\n\n## Reading\n\nMore.\n{document.END}\n"
        self.assertEqual(document.page_with(self.section, "# This machine\n\nAbout it.\n"),
                         "# This machine\n\nAbout it.\n\n" + own)
        new = document.page_with(self.section, "")
        self.assertEqual(new, "# Side by side\n\n" + own)
        self.assertEqual(document.page_with(self.section, new), new)

    def test_pictures_lie_beside_a_readme_and_else_in_a_folder_of_its_name(self):
        self.assertEqual(document.folder_of(Path("docs/performance.md")), Path("docs/performance"))
        self.assertEqual(document.folder_of(Path("docs/performance/some/README.md")), Path("docs/performance/some"))


if __name__ == "__main__":
    unittest.main()
