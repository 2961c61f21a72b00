"""What was to be reached, and whether the measured values do."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import layouts
from tables import goal_met, table


@dataclass(frozen=True)
class Goal:
    what: str
    entry: str
    limit: float
    values: Callable[[list[dict]], dict[str, list[float]]]  # where -> what was measured there; the median counts
    unit: str = ""
    most: bool = False  # the limit is the most that is allowed

    def text(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.limit:g}{self.unit}"

    def reached(self, rows: list[dict]) -> str:
        """Missed parts in bold."""
        parts = [f"{where}: {goal_met(found, self.limit, self.unit, self.most)}"
                 for where, found in self.values(rows).items() if found] if rows else []
        return "; ".join(parts) or "not measured"


def written_at_depths(rows: list[dict]) -> dict[str, list[float]]:
    return {f"depth {depth}": layouts.bandwidth_shares(layouts.at_depth(rows, depth, True))
            for depth, in layouts.unique(rows, "n_depth")}


def sparse_ways(rows: list[dict]) -> dict[str, list[float]]:
    return {f"{way} at {depth}": layouts.bandwidth_shares(
                [row for row in rows if row["decode_attn"] == way and row["n_depth"] == depth])
            for depth, way in layouts.unique(rows, "n_depth", "decode_attn") if way != "dense"}


def worst_shapes(rows: list[dict]) -> dict[str, list[float]]:
    """With each number of keys, the shape whose median is the least."""
    found = {}
    for keys, in layouts.unique(rows, "keys"):
        shapes = layouts.unique([row for row in rows if row["keys"] == keys], "group", "head_dim")
        shares = {f"{keys} keys, at the least (group {group}, head_dim {head_dim})":
                  layouts.values(rows, "share", keys=keys, group=group, head_dim=head_dim) for group, head_dim in shapes}
        worst = min(shares, key=lambda shape: statistics.median(shares[shape]))
        found[worst] = shares[worst]
    return found


def worst_density(rows: list[dict]) -> dict[str, list[float]]:
    found = {f"at the most (group {group}, density {density:.2f})":
             layouts.values(rows, "of_share", group=group, density=density)
             for group, density in layouts.unique(rows, "group", "density")}
    worst = max(found, key=lambda where: statistics.median(found[where]))
    return {worst: found[worst]}


def peak_with(kind: str) -> Callable[[list[dict]], dict[str, list[float]]]:
    def values(rows: list[dict]) -> dict[str, list[float]]:
        found = layouts.peaks(rows)
        return {f"prompt of {prompt}": layouts.values(found, "percent", n_prompt=prompt, hidden_type=kind)
                for prompt, in layouts.unique(found, "n_prompt")}
    return values


def each(key: str, where: str) -> Callable[[list[dict]], dict[str, list[float]]]:
    """The values of a field; where: with the fields that say what it was measured at."""
    def values(rows: list[dict]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for row in rows:
            found.setdefault(where.format(**row), []).append(row[key])
        return found
    return values


GOALS = [
    Goal("attention of a prefill, of the f32 peak", "prefill-attention", 75, worst_shapes, " %"),
    Goal("writing with the full cache, of the read bandwidth", "depths", 75, written_at_depths, " %"),
    Goal("decode that reads a part of the cache, of the read bandwidth", "sparse-decode", 80, sparse_ways, " %"),
    Goal("a bounded cache at a great depth, over a small one", "bounded", 0.95,
         lambda rows: {f"depth {depth}": found for depth, found in layouts.bounded_ratios(rows).items()}),
    Goal("a cache of Llama-2-7B's shape, over the full one", "wide-cache", 10.61, each("times", "depth {depth}")),
    Goal("peak of weights and full cache, hidden states f32", "peak-memory", 58, peak_with("f32"), " %", most=True),
    Goal("peak of weights and full cache, hidden states bf16", "peak-memory", 47, peak_with("bf16"), " %", most=True),
    Goal("one prefill for many caches, over one for one", "variants", 1.25, each("prefill_times", "{variants} caches"),
         most=True),
    Goal("tokens/s of many caches, over those of one", "variants", 2.4, each("decode_times", "{variants} caches")),
    Goal("evaluating many methods, over the full cache alone", "eval-cost", 3,
         each("times", "{methods} methods at {budgets} budgets"), most=True),
    Goal("block-sparse attention, time over density", "block-sparse", 1.15, worst_density, most=True),
]


def goals_table(rows_of: Callable[[str], list[dict]]) -> str:
    """rows_of: name of an entry -> what was measured."""
    return table(["what", "goal", "reached"], [[goal.what, goal.text(), goal.reached(rows_of(goal.entry))] for goal in GOALS])
