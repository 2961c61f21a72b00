"""The text about the results of bench/peers/compare; document.py puts it into a page."""

import statistics
from pathlib import Path

from against import against_text
from machine import UNMEASURED
from peer_goals import goals_text
from tables import RESTKV, bandwidth, depth_table, length_table, limit_table, settings_table, synthetic_table

TITLE = "## Side by side"

# What a row of each section was measured at, and what the document calls the section.
SECTIONS = {"depth": ("depth {n_depth}", "at depths"), "length": ("a prompt of {n_prompt}", "of whole prompts"),
            "synthetic": ("made-up rows at depth {n_depth}", "with made-up rows"),
            "openvino": ("depth {n_depth} beside OpenVINO GenAI", "at depths beside OpenVINO GenAI"),
            "openvino_length": ("a prompt of {n_prompt} beside OpenVINO GenAI", "of whole prompts beside OpenVINO GenAI")}
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


def without_machine(rows: list[dict]) -> list[str]:
    """Rows beside which the machine could not be measured."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if UNMEASURED in row:
            where = (SECTIONS[row["section"]][0].format(**row), row[UNMEASURED])
            counts[where] = counts.get(where, 0) + 1
    return [f"The machine could not be measured beside {number(count)} of the rows of {what}, so they have no share of its "
            f"limit: {why}." for (what, why), count in counts.items()]


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


def text_of(data: dict, pictures: list[str], other: dict | None = None) -> str:
    """A section of a page, with a title of the second level. other: a run to hold the ratios against."""
    rows = data["measured"]
    versions = ", ".join(f"{name} {restkv_version(data) if name == RESTKV else version}"
                         for name, version in data["versions"].items())
    machine = data["machine"]
    parts = [TITLE]
    if data["quick"]:
        parts.append("**A trial with tiny lengths (`--quick`): these figures say nothing.**")
    parts.append(
        f"`bench/peers/compare`, {data['date']}: {data['model']}, {data['threads']} threads, {rounds_of(rows)} "
        f"in turn; medians, and (least-most). {machine['cpu']}, {machine['system']}. {versions}.")
    for when, limits in (("at the start", machine["limits"]), ("at the end", machine.get("limits_at_the_end"))):
        if limits:
            parts.append(f"What the machine could do {when}:\n\n    " + "\n    ".join(limits))
    if not data["quick"] and (text := goals_text(data)):
        parts.append(text)
    parts += [shown(name) for name in pictures if not of_openvino(name)]
    if any(row["section"] == "depth" for row in rows):
        parts.append(f"### Reading {data['prompt']} tokens at a depth\n\n" + depth_table(rows, "depth", "prompt_ts"))
        parts.append(f"### Writing {data['gen']} tokens at a depth\n\n" + depth_table(rows, "depth", "gen_ts"))
        parts.append("### Share of the machine's limit\n\nThe time that its arithmetic or its memory needs at the least, "
                     "over the time that was taken." + bandwidth(rows) + "\n\n" + limit_table(rows))
    if any(row["section"] == "length" for row in rows):
        parts.append("### Whole prompts\n\n" + length_table(rows, "length"))
    if any(row["section"] == "synthetic" for row in rows):
        parts.append("### Writing at depths with made-up rows (`--fill synthetic`)\n\nrestkv alone is measured here. What the "
                     "others would need is extrapolated: a straight line through their times a token at the depths above.\n\n"
                     + synthetic_table(rows))
    if any(row["section"].startswith("openvino") for row in rows):
        parts.append(openvino_text(data, [name for name in pictures if of_openvino(name)]))
    if data["settings"]:
        parts.append(settings_text(data))
    if other:
        parts.append(against_text(data, other))
    if notes := [sentence(clean(note)) for note in data["notes"]] + without_machine(rows) + measured_in_parts(rows):
        parts.append("### What went wrong or was left out\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def of_openvino(picture: str) -> bool:
    return Path(picture).name.startswith("openvino_")


def shown(picture: str) -> str:
    return f"![{Path(picture).stem.replace('_', ' ')}]({picture})"


def openvino_text(data: dict, pictures: list[str]) -> str:
    rows = data["measured"]
    parts = [f"### OpenVINO GenAI, on {data['openvino_model']}\n\nThis file is what OpenVINO can read; all figures here are "
             "of it, those of restkv too.", *map(shown, pictures)]
    reading = f"Reading {data['prompt']} tokens; OpenVINO's time at a depth is the difference of two prompts."
    for key, what in (("prompt_ts", reading), ("gen_ts", f"Writing {data['gen']} tokens.")):
        if any(row["section"] == "openvino" for row in rows):
            parts.append(f"{what}\n\n" + depth_table(rows, "openvino", key).rstrip())
    if any(row["section"] == "openvino_length" for row in rows):
        parts.append("Whole prompts.\n\n" + length_table(rows, "openvino_length"))
    return "\n\n".join(parts)


def settings_text(data: dict) -> str:
    chosen = [f"- {where}: reading {best['prompt']}; writing {best['gen']}" for where, best in data["settings"].items()]
    often = max((row["pair"] + 1 for row in data["measured"] if row["section"] == "setting"), default=1)
    again = (f", and {number(often)} times, in turn, where the first did not tell it from the best (10 %); the median counts"
             if often > 1 else "")
    return (f"### Settings of the peers, the best of those tried\n\nEach was tried once at each of these depths{again}. "
            "What was best at the deepest of them was taken at greater depths as well, and for whole prompts what was best "
            "there for reading.\n\n"
            + "\n".join(chosen) + "\n\n" + settings_table(data["measured"], data["prompt"]))


def clean(note: str) -> str:
    """Without folders of the machine."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in note.split())
