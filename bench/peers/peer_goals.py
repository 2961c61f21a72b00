"""How many times as fast as each peer restkv is to be, and how many times it was."""

from collections.abc import Callable
from dataclasses import dataclass

from tables import RESTKV, by_pair, extrapolated, goal_met, peers_of, ratios, table

IK, LLAMA = "ik_llama.cpp", "llama.cpp"


@dataclass(frozen=True)
class Goal:
    """Of the rows of a section: `at` says at which depth or length, `label` how restkv kept its cache."""
    what: str
    section: str
    key: str
    at: dict[str, int]
    label: str
    least: dict[str, float]  # peer -> how many times its speed

    def times(self, rows: list[dict], peer: str) -> list[float]:
        own = by_pair(rows, self.section, self.key, self.at, label=self.label)
        if self.section != "synthetic":
            return ratios(own, by_pair(rows, self.section, self.key, self.at, engine=peer))
        expected = extrapolated(rows, self.at["n_depth"]).get(peer)
        return [rate * expected for rate in own.values()] if expected else []


def goals(budget: int, patterns: list[str]) -> list[Goal]:
    """Full cache in f16, and rest-kv at the budget of 1024 that the goals were set for."""
    full, kept = f"{RESTKV} full", f"{RESTKV} rest-kv {budget}"

    def reading(what: str, length: int, label: str, ik: float, llama: float) -> Goal:
        return Goal(what, "length", "prompt_ts", {"n_prompt": length}, label, {IK: ik, LLAMA: llama})

    def at_depth(what: str, key: str, depth: int, label: str, ik: float, llama: float) -> Goal:
        return Goal(f"{what}, {label.removeprefix(RESTKV).strip()}, depth {depth}", "depth", key, {"n_depth": depth}, label,
                    {IK: ik, LLAMA: llama})
    found = [reading(f"reading {length} tokens, full", length, full, 0.9, 2) for length in (2048, 8192, 32768)]
    found += [at_depth("reading", "prompt_ts", 8192, full, 1.3, 2.3), at_depth("reading", "prompt_ts", 32256, full, 1.5, 3),
              at_depth("writing", "gen_ts", 0, full, 1, 1.3), at_depth("writing", "gen_ts", 8192, full, 1.5, 2.4),
              at_depth("writing", "gen_ts", 32256, full, 2.5, 3.5)]
    if budget != 1024:
        return found
    found += [at_depth("writing", "gen_ts", 32256, kept, 4, 6),
              Goal("writing, rest-kv 1024, made-up rows at depth 131072, the peers' extrapolated", "synthetic", "gen_ts",
                   {"n_depth": 131072}, kept, {IK: 14, LLAMA: 20}),
              reading("first token of 32768, rest-kv 1024", 32768, kept, 1.4, 2.5)]
    return found + [reading(f"first token of 32768, rest-kv 1024, {pattern}", 32768, f"{kept}, {pattern}", 3.42, 5)
                    for pattern in patterns]


def goals_text(data: dict) -> str:
    """A table of what was measured of it; nothing where no goal was set for these depths and lengths."""
    rows = data["measured"]
    kept = f"{RESTKV} rest-kv {data['budget']}, "
    patterns = list(dict.fromkeys(row["label"].removeprefix(kept) for row in rows
                                  if row["section"] == "length" and row["label"].startswith(kept)))
    peers = [name for name in (IK, LLAMA) if any(name in peers_of(rows, section)[1] for section in ("depth", "length"))]
    body = []
    for goal in goals(data["budget"], patterns):
        cells = [goal_met(goal.times(rows, peer), goal.least[peer]) for peer in peers]
        if any(cells):
            body.append([goal.what, *(part for peer, cell in zip(peers, cells)
                                      for part in (f"{goal.least[peer]:g}", cell or "not measured"))])
    if not body:
        return ""
    head = ["times as fast as", *(part for name in peers for part in (f"{name}: goal", "reached"))]
    return "### Goals\n\n**Bold: missed.** The medians count.\n\n" + table(head, body)
