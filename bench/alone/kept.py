"""The results of a run of bench/alone/measure: what every program said, and what failed, kept on disk after each."""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

from engines import CACHE, ROOT, Restkv, Unavailable, built_from, output
from entries import Entry, Setting
from machine import machine
from results import check_comparable, results_of, write_whole


def shown(command: list[str], model: str, name: str) -> str:
    """The command as anyone would type it: without folders of the machine."""
    words = []
    for word in command:
        path = Path(word)
        if word == model:
            word = name
        elif path.is_absolute():
            word = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        words.append(word)
    return " ".join(words)


class Kept:
    """Steps that were measured, each with its rows."""

    def __init__(self, args: argparse.Namespace, of: Setting):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.started = f"{now:%Y%m%dT%H%M%S%f}"
        self.of = of
        self.name = Path(args.model).name
        same = {"by": "measure", "model": Path(of.model).name, "threads": of.threads, "quick": of.quick,
                "before": built_from(of.before) if of.before else None}
        if args.resume:
            self.path = args.resume
            self.data = results_of("measure", self.path)
            check_comparable("measure", self.path, self.data, same)
        else:
            CACHE.mkdir(parents=True, exist_ok=True)
            self.path = CACHE / f"alone-{self.started}.json"
            self.data = same | {"date": f"{now:%Y-%m-%d}", "machine": machine(of.threads), "measured": [], "failed": []}
        self.version = Restkv().version()
        self.data["version"] = self.version

    def save(self) -> None:
        write_whole(self.path, self.data)

    def has(self, entry: Entry, step: str, turn: int) -> bool:
        at = {"entry": entry.name, "step": step, "round": turn}
        return any(all(done[key] == value for key, value in at.items()) for done in self.data["measured"])

    def measure_all(self, entry: Entry, rounds: int) -> None:
        """What is missing of an entry. What an earlier run failed at is tried again; what fails now is left for this run."""
        self.data["failed"] = [failure for failure in self.data["failed"] if failure["entry"] != entry.name]
        steps = entry.steps(self.of)
        broken = set()
        for turn in range(1, rounds + 1):
            for step, command in steps.items():
                if step not in broken and not self.has(entry, step, turn) and not self.measure_step(entry, step, turn, command):
                    broken.add(step)
        self.save()

    def measure_step(self, entry: Entry, step: str, turn: int, command: list[str]) -> bool:
        said = shown(command, self.of.model, self.name)
        at = {"entry": entry.name, "step": step, "round": turn, "command": said, "run": self.started}
        print(f"measure: {entry.name}, round {turn}: {said}", file=sys.stderr, flush=True)
        begin = time.monotonic()
        try:
            rows = self.rows_of(entry, command)
        except Unavailable as error:
            print(f"measure: {entry.name}: {error}", file=sys.stderr, flush=True)
            self.data["failed"].append(at | {"error": str(error)})
            self.save()
            return False
        now = datetime.datetime.now(datetime.timezone.utc)
        seconds = time.monotonic() - begin
        self.data["measured"].append(at | {"version": self.version, "date": f"{now:%Y-%m-%d}", "seconds": round(seconds, 1),
                                           "rows": rows})
        self.save()
        print(f"measure: {entry.name}: {len(rows)} rows in {seconds:.0f} s", file=sys.stderr, flush=True)
        return True

    @staticmethod
    def rows_of(entry: Entry, command: list[str]) -> list[dict]:
        program = Path(command[0])
        if not program.is_file():
            raise Unavailable(f"{program.name} is missing: `cmake --build build --target {program.name}` builds it")
        try:
            rows = entry.read(output(command)[0])
        except (OSError, ValueError) as error:
            raise Unavailable(f"{program.name}: {error}") from error
        if not rows:
            raise Unavailable(f"{program.name} printed no row that could be read")
        return rows


def rows_of(data: dict, entry: str) -> list[dict]:
    """All rows of an entry, each with its round."""
    return [row | {"round": done["round"]} for done in data["measured"] if done["entry"] == entry for row in done["rows"]]
