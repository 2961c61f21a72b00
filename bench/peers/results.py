"""The results of a run of bench/peers/compare: rows, and what is known about all of them."""

import argparse
import datetime
import itertools
import json
import os
import sys
from pathlib import Path

from engines import CACHE, Engine, Measurement, Restkv, Task, Unavailable
from machine import cpu, machine


def write_whole(path: Path, data: dict) -> None:
    """Whoever stops the program while it writes keeps what was there."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data, indent=1), encoding="utf-8")
    part.replace(path)


# Options that say what is measured; a run that goes on measures the same unless told otherwise.
LISTS = ("depths", "lengths", "synthetic", "prefills")
ASKED = (*LISTS, "pairs", "prompt", "gen", "budget", "try_to", "turns_from")


def asked(args: argparse.Namespace) -> dict:
    return {name: getattr(args, name) for name in ASKED}


def results_of(program: str, path: Path) -> dict:
    """What a run wrote. Ends the program with one line where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"{program}: {path}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"{program}: {path}: {error}")


def asked_for(path: Path) -> dict:
    """What the run was asked for that wrote these results, as far as it says."""
    data = results_of("compare", path)
    return {name: data[name] for name in ASKED if name in data}


def check_comparable(program: str, path: Path, data: dict, now: dict) -> None:
    """What was measured before must be comparable with what is measured now."""
    before = {key: data.get(key) for key in now}
    if before != now:
        sys.exit(f"{program}: {path} is of other settings: {before}")
    if data["machine"]["cpu"] != cpu():
        sys.exit(f"{program}: {path} is of another machine: {data['machine']['cpu']}, and this is {cpu()}")


class Run:
    """The results of a run, kept on disk after every round."""

    def __init__(self, args: argparse.Namespace, model: str):
        now = datetime.datetime.now(datetime.timezone.utc)
        CACHE.mkdir(parents=True, exist_ok=True)
        self.started = f"{now:%Y%m%dT%H%M%S}"
        self.args = args
        if args.resume:
            self.path = args.resume
            self.data = results_of("compare", self.path)
            self.noted_before = set(self.data["notes"])
            self.load = os.getloadavg()[0]
            check_comparable("compare", self.path, self.data,
                             {"model": Path(model).name, "threads": args.threads, "prompt": args.prompt,
                              "gen": args.gen, "budget": args.budget, "quick": args.quick})
            self.check_version()
            self.take_up(args)
            return
        self.noted_before = set()
        self.data = {"date": f"{now:%Y-%m-%d}", "model": Path(model).name, "threads": args.threads,
                     "quick": args.quick, **asked(args), "versions": {}, "settings": {}, "notes": [],
                     "measured": [], "machine": machine(args.threads)}
        self.load = self.data["machine"]["load"]
        self.path = self.file_of_its_own()

    def take_up(self, args: argparse.Namespace) -> None:
        """What is asked for now is added to what was, so that the next --resume completes all of it."""
        for name, value in asked(args).items():
            if name in LISTS:
                before = self.data.get(name, [])
                value = before + [one for one in value if one not in before]
            self.data[name] = value

    def file_of_its_own(self) -> Path:
        """Named by the time, and by a number where another run began in the same second."""
        for n in itertools.count(1):
            path = CACHE / f"results-{self.started}{f'-{n}' if n > 1 else ''}.json"
            try:
                with path.open("x", encoding="utf-8") as file:
                    json.dump(self.data, file, indent=1)
                return path
            except FileExistsError:
                continue

    def check_version(self) -> None:
        """Says it when restkv has changed since; the document names the versions of each section."""
        for row in self.data["measured"]:
            if row["engine"] == Restkv.name:
                row.setdefault("version", self.data["versions"].get(Restkv.name, "unknown"))
        now = Restkv().version()
        before = {row["version"] for row in self.data["measured"] if row["engine"] == Restkv.name} - {now}
        if before:
            print(f"compare: {self.path} has rows of restkv {', '.join(sorted(before))}, and this is {now}", file=sys.stderr)

    def known(self, section: str, engine: Engine, task: Task, pair: int) -> dict | None:
        """The row of an earlier run that this one goes on from."""
        wanted = {"section": section, "label": engine.label, "pair": pair, "n_prompt": task.n_prompt,
                  "n_gen": task.n_gen, "n_depth": task.n_depth}
        return next((row for row in self.data["measured"] if all(row[key] == value for key, value in wanted.items())),
                    None)

    def save(self) -> None:
        write_whole(self.path, self.data)

    def forget(self, start: str) -> None:
        """What an earlier run noted so: it is tried again, and noted again if it fails again."""
        self.data["notes"] = [text for text in self.data["notes"]
                              if text not in self.noted_before or not text.startswith(start)]

    def note(self, text: str) -> None:
        print(f"compare: {text}", file=sys.stderr)
        self.noted_before.discard(text)
        if text not in self.data["notes"]:
            self.data["notes"].append(text)
        self.save()

    def measure(self, section: str, engine: Engine, model: str, task: Task, pair: int) -> dict | None:
        """One row; None when the engine could not do it, which is noted."""
        if (row := self.known(section, engine, task, pair)) is not None:
            return row
        start = f"{engine.label}, pp{task.n_prompt} tg{task.n_gen} @ d{task.n_depth}: "
        self.forget(start)
        try:
            done = engine.measure(model, self.args.threads, task)
        except Unavailable as error:
            self.note(f"{start}{error}")
            return None
        return self.add(section, engine, task, pair, done)

    def add(self, section: str, engine: Engine, task: Task, pair: int, done: Measurement) -> dict:
        what = f"pp{task.n_prompt} tg{task.n_gen} @ d{task.n_depth}"
        row = {"section": section, "engine": engine.name, "label": engine.label, "pair": pair, "run": self.started,
               "n_prompt": task.n_prompt, "n_gen": task.n_gen, "n_depth": task.n_depth, "prompt_ts": done.prompt_ts,
               "gen_ts": done.gen_ts, "peak_bytes": done.peak_bytes, **done.extra}
        if engine.name == Restkv.name:
            row["version"] = engine.version()
        self.data["measured"].append(row)
        print(f"{section:8} {pair} {engine.label:32} {what:24} {done.prompt_ts:9.2f} {done.gen_ts:8.2f} t/s "
              f"{done.peak_bytes / 1048576:8.0f} MiB", file=sys.stderr, flush=True)
        self.save()
        return row
