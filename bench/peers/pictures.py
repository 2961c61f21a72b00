"""Draws the results of bench/peers/compare: pictures.py FOLDER, results on standard input.

Prints the names of the files. Runs in the environment that report.py makes.
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
            name = row["label"] if row["engine"] == "restkv" else row["engine"]
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


def main() -> None:
    folder = Path(sys.argv[1])
    data = json.load(sys.stdin)
    rows = data["measured"]
    mib = 1048576
    pictures = [
        ("reading_by_depth.svg", lines(rows, "depth", "n_depth", lambda row: row["prompt_ts"]),
         f"Reading {data['prompt']} tokens", "tokens in the cache before", "tokens/s"),
        ("writing_by_depth.svg", lines(rows, "depth", "n_depth", lambda row: row["gen_ts"]),
         f"Writing {data['gen']} tokens", "tokens in the cache before", "tokens/s"),
        ("first_token_by_length.svg",
         lines(rows, "length", "n_prompt", lambda row: row["prompt_ts"] and row["n_prompt"] / row["prompt_ts"]),
         "Time to the first token", "tokens of the prompt", "seconds"),
        ("peak_memory_by_length.svg", lines(rows, "length", "n_prompt", lambda row: row["peak_bytes"] / mib),
         "Peak memory of the process", "tokens of the prompt", "MiB"),
    ]
    for name, *picture in pictures:
        if draw(folder / name, *picture):
            print(name)


if __name__ == "__main__":
    main()
