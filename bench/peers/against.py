"""Whether a run's ratios lie where those of another run on the same machine did."""

import statistics
from dataclasses import dataclass

from tables import RESTKV, by_pair, extrapolated, peers_of, ratios, table, unique

# section -> what is compared there: the field of the row, that of its length, and how the line says it.
COMPARED = {"depth": (("prompt_ts", "n_depth", "reading at {}"), ("gen_ts", "n_depth", "writing at {}")),
            "length": (("prompt_ts", "n_prompt", "first token of {}"),)}
COMPARED |= {f"openvino{'_length' if section == 'length' else ''}": what for section, what in COMPARED.items()}
SAME = ("model", "threads", "prompt", "gen", "budget", "quick")


def differences(data: dict, other: dict) -> list[str]:
    """What makes two runs incomparable."""
    found = [f"{key} {other.get(key)}, not {data.get(key)}" for key in SAME if data.get(key) != other.get(key)]
    here, there = (run.get("openvino_model") for run in (data, other))
    if here and there and here != there:
        found.append(f"openvino_model {there}, not {here}")
    here, there = (run["machine"]["cpu"] for run in (data, other))
    return found + ([f"machine {there}, not {here}"] if here != there else [])


def all_ratios(rows: list[dict]) -> dict[tuple[str, str, str], list[float]]:
    """(what, restkv in which setting, over which peer) -> what the tables give median and spread of."""
    found = {}
    for section, compared in COMPARED.items():
        field, peers = peers_of(rows, section)
        ours = [label for label in unique(rows, section, "label") if label.startswith(RESTKV)]
        for key, length, what in compared:
            for n in unique(rows, section, length):
                for peer in peers:
                    theirs = by_pair(rows, section, key, {length: n}, **{field: peer})
                    for label in ours:
                        found[what.format(n), label, peer] = ratios(by_pair(rows, section, key, {length: n}, label=label), theirs)
    for depth in unique(rows, "synthetic", "n_depth"):
        for peer, seconds in extrapolated(rows, depth).items():
            for label in unique(rows, "synthetic", "label"):
                rates = by_pair(rows, "synthetic", "gen_ts", {"n_depth": depth}, label=label)
                found[f"writing at {depth}, extrapolated", label, peer] = [rate * seconds for rate in rates.values()]
    return {name: values for name, values in found.items() if values}


@dataclass(frozen=True)
class Line:
    name: tuple[str, str, str]
    median: float
    least: float
    most: float
    chance: float  # that it lies within when nothing but chance is different

    @property
    def within(self) -> bool:
        return self.least <= self.median <= self.most


def lines(rows: list[dict], others: list[dict]) -> list[Line]:
    """Of all ratios that both runs have."""
    before = all_ratios(others)
    return [Line(name, statistics.median(now), min(before[name]), max(before[name]), chance(len(now), len(before[name])))
            for name, now in all_ratios(rows).items() if name in before]


def chance(n: int, others: int) -> float:
    """That the median of n numbers lies between the least and the most of others from the same source.

    It is above all of these when the largest half of the n are the largest of all; as likely it is below.
    With an even n the median is between two numbers, and this is a guess between theirs.
    """
    def largest(k: int) -> float:
        all_ours = 1.0
        for i in range(k):
            all_ours *= (n - i) / (n + others - i)
        return all_ours

    return 1 - largest((n + 1) // 2) - largest(n // 2 + 1)


def summary(data: dict, other: dict) -> str:
    found = lines(data["measured"], other["measured"])
    if not found:
        return "No ratio was measured in both runs."
    usual = statistics.fmean(line.chance for line in found)
    return (f"{sum(line.within for line in found)} of {len(found)} medians lie within the least-most of the run of "
            f"{other['date']} ({RESTKV} {other['versions'].get(RESTKV, 'unknown')}). Of two runs with as many rounds that "
            f"differ by chance alone, about {100 * usual:.0f} % would.")


def against_text(data: dict, other: dict) -> str:
    body = [[*line.name, f"{line.median:.2f}", f"{line.least:.2f}-{line.most:.2f}", "yes" if line.within else "**no**"]
            for line in lines(data["measured"], other["measured"])]
    return ("### Beside another run\n\n" + summary(data, other) + "\n\n"
            + table(["ratio", "of", "over", "median here", "least-most there", "within"], body))
