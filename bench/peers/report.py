"""Tables and pictures from the results of bench/peers/compare, put between two marks of a document."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from engines import CACHE, HERE, Unavailable, environment

BEGIN = "<!-- written by bench/peers/compare: begin -->"
END = "<!-- written by bench/peers/compare: end -->"
RESTKV = "restkv"


def spread(values: list[float], digits: int) -> str:
    """Median and, where there are several, the smallest and the largest."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def by_pair(rows: list[dict], section: str, key: str, at: dict, **which: str) -> dict[int, float]:
    """pair -> value, of the rows that match and have measured it."""
    wanted = {"section": section, **at, **which}
    return {row["pair"]: row[key] for row in rows
            if row.get(key) and all(row[name] == value for name, value in wanted.items())}


def ratios(ours: dict[int, float], theirs: dict[int, float]) -> list[float]:
    return [ours[pair] / theirs[pair] for pair in sorted(ours) if pair in theirs]


def unique(rows: list[dict], section: str, key: str) -> list:
    return list(dict.fromkeys(row[key] for row in rows if row["section"] == section))


def table(head: list[str], body: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)]) + "\n"


def depth_table(rows: list[dict], section: str, key: str) -> str:
    """Rates at each depth, and restkv's over the peer's, pair by pair."""
    ours = [label for label in unique(rows, section, "label") if label.startswith(RESTKV)]
    peers = [name for name in unique(rows, section, "engine") if name != RESTKV]
    if section == "openvino":  # one engine in two settings: each is a peer of its own
        peers = [label for label in unique(rows, section, "label") if label not in ours]
    which = "label" if section == "openvino" else "engine"
    body = []
    for depth in unique(rows, section, "n_depth"):
        at = {"n_depth": depth}
        theirs = {name: by_pair(rows, section, key, at, **{which: name}) for name in peers}
        for name in peers:
            if theirs[name]:
                body.append([str(depth), name, spread(list(theirs[name].values()), 1), *("" for _ in peers)])
        for label in ours:
            own = by_pair(rows, section, key, at, label=label)
            if own:
                body.append([str(depth), label, spread(list(own.values()), 1),
                             *(spread(ratios(own, theirs[name]), 2) for name in peers)])
    return table(["depth", "engine", "tokens/s", *(f"over {name}" for name in peers)], body)


def length_table(rows: list[dict]) -> str:
    """First tokens and peaks, and how many times as soon as a peer's restkv's first token is there, pair by pair."""
    peers = [name for name in unique(rows, "length", "engine") if name != RESTKV]
    body = []
    for length in sorted(unique(rows, "length", "n_prompt")):
        at = {"n_prompt": length}
        for label in unique(rows, "length", "label"):
            rates = by_pair(rows, "length", "prompt_ts", at, label=label)
            peaks = by_pair(rows, "length", "peak_bytes", at, label=label)
            if not rates:
                continue
            sooner = [ratios(rates, by_pair(rows, "length", "prompt_ts", at, engine=name)) for name in peers]
            body.append([str(length), label, str(len(rates)), spread([length / rate for rate in rates.values()], 2),
                         *(spread(times, 2) if label.startswith(RESTKV) else "" for times in sooner),
                         spread([peak / 1048576 for peak in peaks.values()], 0)])
    return table(["prompt", "engine", "rounds", "first token after, s", *(f"{name}'s over it" for name in peers),
                  "peak memory, MiB"], body)


def seconds_a_token(rows: list[dict], engine: str, depth: int) -> float | None:
    """Where a straight line through the medians at the measured depths is at this one: attention and the cache's bytes
    grow with the depth, all else stays. None with fewer than three depths, which could not show that it is straight."""
    at = {known: list(by_pair(rows, "depth", "gen_ts", {"n_depth": known}, engine=engine).values())
          for known in unique(rows, "depth", "n_depth")}
    points = [(known, 1 / statistics.median(rates)) for known, rates in at.items() if rates]
    if len(points) < 3:
        return None
    slope, start = statistics.linear_regression(*zip(*points))
    return start + slope * depth


def synthetic_table(rows: list[dict]) -> str:
    """restkv's rates with made-up rows, beside what the peers' measured depths let expect."""
    peers = [name for name in unique(rows, "depth", "engine") if name != RESTKV]
    body = []
    for depth in unique(rows, "synthetic", "n_depth"):
        expected = {name: seconds for name in peers
                    if depth > 0 and (seconds := seconds_a_token(rows, name, depth)) is not None}
        body += [[str(depth), f"{name}, extrapolated", f"{1 / seconds:.1f}", "", *("" for _ in peers)]
                 for name, seconds in expected.items()]
        for label in unique(rows, "synthetic", "label"):
            at = {"n_depth": depth}
            rates = list(by_pair(rows, "synthetic", "gen_ts", at, label=label).values())
            shares = by_pair(rows, "synthetic", "gen_limit_share", at, label=label)
            body.append([str(depth), label, spread(rates, 1), spread([100 * share for share in shares.values()], 0),
                         *(spread([rate * expected[name] for rate in rates], 1) if name in expected else ""
                           for name in peers)])
    return table(["depth", "engine", "tokens/s", "% of the machine's limit", *(f"over {name}" for name in peers)], body)


def limit_table(rows: list[dict]) -> str:
    body = []
    for depth in unique(rows, "depth", "n_depth"):
        for label in unique(rows, "depth", "label"):
            at = {"n_depth": depth}
            read = by_pair(rows, "depth", "prompt_limit_share", at, label=label)
            written = by_pair(rows, "depth", "gen_limit_share", at, label=label)
            if read or written:
                body.append([str(depth), label, *(spread([100 * s for s in part.values()], 0)
                                                  for part in (read, written))])
    return table(["depth", "engine", "% reading", "% writing"], body)


# What a row of each section was measured at, and what the document calls the section.
SECTIONS = {"depth": ("depth {n_depth}", "at depths"), "length": ("a prompt of {n_prompt}", "of whole prompts"),
            "synthetic": ("made-up rows at depth {n_depth}", "with made-up rows"),
            "openvino": ("depth {n_depth} beside OpenVINO GenAI", "beside OpenVINO GenAI")}
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def number(n: int) -> str:
    return NUMBERS[n] if n < len(NUMBERS) else str(n)


def restkv_version(data: dict) -> str:
    """The version of most rows, and which sections are of others: "abc1234 (at depths: def5678)"."""
    last = data["versions"].get(RESTKV, "unknown")
    of_section = {section: [row.get("version", last) for row in data["measured"]
                            if row["section"] == section and row["engine"] == RESTKV] for section in SECTIONS}
    every = [version for versions in of_section.values() for version in versions]
    usual = statistics.mode(every) if every else last
    others = [f"{SECTIONS[section][1]}: {' and '.join(dict.fromkeys(versions))}"
              for section, versions in of_section.items() if set(versions) - {usual}]
    return usual + (f" ({'; '.join(others)})" if others else "")


def measured_in_parts(rows: list[dict]) -> list[str]:
    """What an interrupted run and its continuations measured at different times."""
    parts: dict[str, dict[str, set]] = {}
    for row in rows:
        if row["section"] in SECTIONS and "run" in row:
            what = SECTIONS[row["section"]][0].format(**row)
            parts.setdefault(what, {}).setdefault(row["run"], set()).add(row["pair"])
    notes = []
    for what, runs in parts.items():
        counts = [len(pairs) for _, pairs in sorted(runs.items())]
        if len(counts) > 1:
            first = f"{number(counts[0])} round" + ("s" if counts[0] != 1 else "")
            later = "".join(f" and later {number(count)}" for count in counts[1:])
            notes.append(f"The processes of {what} were measured in {number(len(counts))} parts, {first}{later}.")
    return notes


def rounds_of(rows: list[dict]) -> str:
    """"5 rounds", or "1 to 5 rounds" where some lengths had fewer."""
    at: dict[str, set] = {}
    for row in rows:
        if row["section"] in SECTIONS:
            at.setdefault(SECTIONS[row["section"]][0].format(**row), set()).add(row["pair"])
    counts = sorted({len(pairs) for pairs in at.values()}) or [0]
    text = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return text + (" round" if counts == [1] else " rounds")


def sentence(note: str) -> str:
    """With a capital, unless it begins with a name, and with a full stop."""
    if note.startswith(("the ", "no ")):
        note = note[0].upper() + note[1:]
    return note if note.endswith(".") else note + "."


def text_of(data: dict, pictures: list[str]) -> str:
    rows = data["measured"]
    versions = ", ".join(f"{name} {restkv_version(data) if name == RESTKV else version}"
                         for name, version in data["versions"].items())
    machine = data["machine"]
    parts = ["## Side by side"]
    if data["quick"]:
        parts.append("**A trial with tiny lengths (`--quick`): these figures say nothing.**")
    parts.append(
        f"`bench/peers/compare`, {data['date']}: {data['model']}, {data['threads']} threads, {rounds_of(rows)} "
        f"in turn; medians, and (least-most). {machine['cpu']}, {machine['system']}. {versions}.")
    for when, limits in (("at the start", machine["limits"]), ("at the end", machine.get("limits_at_the_end"))):
        if limits:
            parts.append(f"What the machine could do {when}:\n\n    " + "\n    ".join(limits))
    parts += [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in pictures]
    parts.append(f"### Reading {data['prompt']} tokens at a depth\n\n" + depth_table(rows, "depth", "prompt_ts"))
    parts.append(f"### Writing {data['gen']} tokens at a depth\n\n" + depth_table(rows, "depth", "gen_ts"))
    parts.append("### Share of the machine's limit\n\nThe time that its arithmetic or its memory needs at the least, "
                 "over the time that was taken.\n\n" + limit_table(rows))
    parts.append("### Whole prompts\n\n" + length_table(rows))
    if any(row["section"] == "synthetic" for row in rows):
        parts.append("### Writing at depths with made-up rows (`--fill synthetic`)\n\nrestkv alone is measured here. What the "
                     "others would need is extrapolated: a straight line through their times a token at the depths above.\n\n"
                     + synthetic_table(rows))
    if any(row["section"] == "openvino" for row in rows):
        parts.append(f"### OpenVINO GenAI, on {data['openvino_model']}\n\nReading; a prompt at a depth is the difference "
                     "of two prompts.\n\n" + depth_table(rows, "openvino", "prompt_ts")
                     + "\nWriting.\n\n" + depth_table(rows, "openvino", "gen_ts"))
    settings = [f"- {where}: reading {best['prompt']}; writing {best['gen']}" for where, best in data["settings"].items()]
    parts.append("### Settings of the peers, the best of those tried\n\nEach was tried once at each of these depths. What "
                 "was best at the deepest of them was taken at greater depths as well, and for whole prompts what was best "
                 "there for reading.\n\n" + "\n".join(settings))
    if notes := [sentence(clean(note)) for note in data["notes"]] + measured_in_parts(rows):
        parts.append("### What went wrong or was left out\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def clean(note: str) -> str:
    """Without folders of the machine."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in note.split())


def draw(data: dict, folder: Path) -> list[str]:
    """Names of the pictures; none when matplotlib cannot be had."""
    try:
        python = environment("pictures", "matplotlib")
    except Unavailable as error:
        print(f"compare: no pictures: {error}", file=sys.stderr)
        return []
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([python, HERE / "pictures.py", folder], input=json.dumps(data), stdout=subprocess.PIPE,
                          text=True, check=True)
    return done.stdout.split()


def write_document(data: dict, document: Path) -> None:
    """Replaces what stands between the marks; adds them at the end when there are none."""
    folder = document.parent / "performance" if not data["quick"] else CACHE / "quick"
    pictures = [f"{folder.name}/{name}" for name in draw(data, folder)]
    section = f"{BEGIN}\n{text_of(data, pictures)}{END}\n"
    old = document.read_text(encoding="utf-8") if document.is_file() else ""
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        new = before + section + rest.split(END, 1)[1].lstrip("\n")
    else:
        new = (old.rstrip() + "\n\n" if old.strip() else "") + section
    document.write_text(new, encoding="utf-8")
