"""Draws the results of bench/peers/compare: pictures.py FOLDER, results on standard input.

Prints the names of the files. Runs in the environment that document.py makes.
"""

import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "restkv"  # the same data gives the same file
from matplotlib import pyplot  # noqa: E402


def lines(rows: list[dict], section: str, x: str, value) -> dict[str, list[tuple]]:
    """label -> (x, median, least, most) in order of x. value: row -> number or None."""
    points: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        number = value(row) if row["section"] == section else None
        if number:
            name = row["label"] if row["engine"] == "restkv" or section.startswith("openvino") else row["engine"]
            points.setdefault(name, {}).setdefault(row[x], []).append(number)
    return {name: [(at, statistics.median(found), min(found), max(found)) for at, found in sorted(line.items())]
            for name, line in points.items()}


def draw(path: Path, drawn: dict[str, list[tuple]], title: str, x_label: str, y_label: str) -> bool:
    if not drawn:
        return False
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, line in drawn.items():
        xs, middles, least, most = zip(*line)
        bars = [[m - a for m, a in zip(middles, least)], [b - m for m, b in zip(middles, most)]]
        axes.errorbar(xs, middles, yerr=bars, marker="o", capsize=3, label=name,
                      linewidth=2.2 if name.startswith("restkv") else 1.2)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def pictures(data: dict, prefix: str, depth: str, length: str, model: str = "") -> list[tuple]:
    """What draw() is given, of the rows of two sections. model: where it is not that of the other pictures."""
    rows, of = data["measured"], f"\n{model}" if model else ""
    mib = 1048576
    return [
        (f"{prefix}reading_by_depth.svg", lines(rows, depth, "n_depth", lambda row: row["prompt_ts"]),
         f"Reading {data['prompt']} tokens{of}", "tokens in the cache before", "tokens/s"),
        (f"{prefix}writing_by_depth.svg", lines(rows, depth, "n_depth", lambda row: row["gen_ts"]),
         f"Writing {data['gen']} tokens{of}", "tokens in the cache before", "tokens/s"),
        (f"{prefix}first_token_by_length.svg",
         lines(rows, length, "n_prompt", lambda row: row["prompt_ts"] and row["n_prompt"] / row["prompt_ts"]),
         f"Time to the first token{of}", "tokens of the prompt", "seconds"),
        (f"{prefix}peak_memory_by_length.svg", lines(rows, length, "n_prompt", lambda row: row["peak_bytes"] / mib),
         f"Peak memory of the process{of}", "tokens of the prompt", "MiB"),
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    data = json.load(sys.stdin)
    wanted = pictures(data, "", "depth", "length")
    if "openvino_model" in data:
        wanted += pictures(data, "openvino_", "openvino", "openvino_length", data["openvino_model"])
    for name, *picture in wanted:
        if draw(folder / name, *picture):
            print(name)


if __name__ == "__main__":
    main()
