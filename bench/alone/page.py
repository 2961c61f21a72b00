"""The text about the results of bench/alone/measure, and its place in a page."""

from pathlib import Path

from document import page_with
from entries import ENTRIES, Entry
from goals import goals_table
from kept import rows_of
from report import clean, number

TITLE = "## By itself"
BEGIN = "<!-- written by bench/alone/measure: begin -->"
END = "<!-- written by bench/alone/measure: end -->"


def steps_of(data: dict, entry: Entry) -> list[dict]:
    return [done for done in data["measured"] if done["entry"] == entry.name]


def entry_text(data: dict, entry: Entry) -> str:
    steps = steps_of(data, entry)
    rounds = len({done["round"] for done in steps})
    often = f" {number(rounds).capitalize()} rounds." if rounds > 1 else ""
    commands = "\n".join(f"    {command}" for command in dict.fromkeys(done["command"] for done in steps))
    return f"### {entry.title}\n\n{entry.about}{often}\n\n{commands}\n\n{entry.show(rows_of(data, entry.name))}"


def notes_of(data: dict) -> list[str]:
    """What the tables do not say."""
    load = data["machine"]["load"]
    notes = [f"The machine was not idle at the start: load {load:.1f}."] if load > 0.5 else []
    for entry in ENTRIES:
        notes += [f"{entry.title}, {failure['step']}, round {failure['round']}: {clean(failure['error'])}."
                  for failure in data["failed"] if failure["entry"] == entry.name]
        steps = steps_of(data, entry)
        versions = list(dict.fromkeys((done["version"], done["date"]) for done in steps))
        if versions and versions != [(data["version"], data["date"])]:
            notes.append(f"{entry.title}: " + ", ".join(f"restkv {version} on {date}" for version, date in versions) + ".")
        if len(runs := dict.fromkeys(done["run"] for done in steps)) > 1:
            notes.append(f"{entry.title}: measured in {number(len(runs))} parts.")
    failed = {failure["entry"] for failure in data["failed"]}
    left_out = [entry.title for entry in ENTRIES if entry.name not in failed and not steps_of(data, entry)]
    return notes + ([f"Not measured: {'; '.join(left_out)}."] if left_out else [])


def text_of(data: dict) -> str:
    """A section of a page, with a title of the second level."""
    machine = data["machine"]
    parts = [TITLE]
    if data["quick"]:
        parts.append("**A trial with tiny sizes (`--quick`): these figures say nothing.**")
    before = f" Before: {data['before']}." if data["before"] else ""
    parts.append(f"`bench/alone/measure`, {data['date']}: {data['model']}, {data['threads']} threads; medians, and (least-most). "
                 f"{machine['cpu']}, {machine['system']}. restkv {data['version']}.{before}")
    for when, limits in (("at the start", machine["limits"]), ("at the end", machine.get("limits_at_the_end"))):
        if limits:
            parts.append(f"What the machine could do {when}:\n\n    " + "\n    ".join(limits))
    parts.append("### Goals\n\n**Bold: missed.** The medians count.\n\n" + goals_table(lambda name: rows_of(data, name)))
    parts += [entry_text(data, entry) for entry in ENTRIES if steps_of(data, entry)]
    if notes := notes_of(data):
        parts.append("### What went wrong, was left out or measured apart\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def write_page(data: dict, page: Path) -> None:
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    page.write_text(page_with(text_of(data), old, TITLE, BEGIN, END), encoding="utf-8")
