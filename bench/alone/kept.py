"""The results of a run of bench/alone/measure: what every program said, and what failed, kept on disk after each."""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

from engines import CACHE, ROOT, Restkv, Unavailable, built_from, output
from entries import Entry, Setting
from machine import cpu, machine
from results import Run


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


class Kept(Run):
    """Steps that were measured, each with its rows; replaced whole as those of compare are."""

    # What its class starts with is about engines; only how results are saved is the same.
    def __init__(self, args: argparse.Namespace, of: Setting):  # pylint: disable=super-init-not-called
        now = datetime.datetime.now(datetime.timezone.utc)
        self.started = f"{now:%Y%m%dT%H%M%S%f}"
        self.args, self.of = args, of
        self.name = Path(args.model).name
        same = {"by": "measure", "model": Path(of.model).name, "threads": of.threads, "quick": of.quick,
                "before": built_from(of.before) if of.before else None}
        if args.resume:
            self.path = args.resume
            self.data = json.loads(self.path.read_text(encoding="utf-8"))
            self.check(same, cpu())
        else:
            CACHE.mkdir(parents=True, exist_ok=True)
            self.path = CACHE / f"alone-{self.started}.json"
            self.data = same | {"date": f"{now:%Y-%m-%d}", "machine": machine(of.threads), "measured": [], "failed": []}
        self.version = Restkv().version()
        self.data["version"] = self.version

    def check(self, same: dict, cpu: str) -> None:
        """What was measured before must be comparable with what is measured now."""
        before = {key: self.data.get(key) for key in same}
        if before != same:
            sys.exit(f"measure: {self.path} is of other settings: {before}")
        if self.data["machine"]["cpu"] != cpu:
            sys.exit(f"measure: {self.path} is of another machine: {self.data['machine']['cpu']}, and this is {cpu}")

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
