"""Tables from the rows of bench/peers/compare. A row is what one process measured; see results.py."""

import statistics

RESTKV = "restkv"


def spread(values: list[float], digits: int) -> str:
    """Median and, where there are several, the smallest and the largest."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def goal_met(values: list[float], limit: float, unit: str = "", most: bool = False) -> str:
    """The values, in bold where their median misses the limit (the least, or the most, that is allowed); empty without any."""
    if not values:
        return ""
    digits = 0 if unit else 2
    middle = statistics.median(values)
    if not (middle > limit if most else middle < limit):
        return spread(values, digits) + unit
    said = spread(values, digits)
    if said.split()[0] == f"{limit:.{digits}f}":
        said = spread(values, digits + 1)  # a goal that is missed by little is not shown as reached
    return f"**{said}{unit}**"


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


def peers_of(rows: list[dict], section: str) -> tuple[str, list[str]]:
    """The field that tells peers apart, and what it says. Beside OpenVINO its settings are peers of their own; elsewhere
    each peer is in its best setting, which may differ from depth to depth."""
    field = "label" if section.startswith("openvino") else "engine"
    found = [row[field] for row in rows if row["section"] == section and row["engine"] != RESTKV]
    return field, list(dict.fromkeys(found))


def depth_table(rows: list[dict], section: str, key: str) -> str:
    """Rates at each depth, and restkv's over the peer's, pair by pair."""
    ours = [label for label in unique(rows, section, "label") if label.startswith(RESTKV)]
    field, peers = peers_of(rows, section)
    body = []
    for depth in unique(rows, section, "n_depth"):
        at = {"n_depth": depth}
        theirs = {name: by_pair(rows, section, key, at, **{field: name}) for name in peers}
        for name in peers:
            if theirs[name]:
                body.append([str(depth), name, spread(list(theirs[name].values()), 1), *("" for _ in peers)])
        for label in ours:
            own = by_pair(rows, section, key, at, label=label)
            if own:
                body.append([str(depth), label, spread(list(own.values()), 1),
                             *(spread(ratios(own, theirs[name]), 2) for name in peers)])
    return table(["depth", "engine", "tokens/s", *(f"over {name}" for name in peers)], body)


def length_table(rows: list[dict], section: str) -> str:
    """First tokens and peaks, and how many times as soon as a peer's restkv's first token is there, pair by pair."""
    field, peers = peers_of(rows, section)
    body = []
    for length in sorted(unique(rows, section, "n_prompt")):
        at = {"n_prompt": length}
        for label in unique(rows, section, "label"):
            rates = by_pair(rows, section, "prompt_ts", at, label=label)
            peaks = by_pair(rows, section, "peak_bytes", at, label=label)
            if not rates:
                continue
            sooner = [ratios(rates, by_pair(rows, section, "prompt_ts", at, **{field: name})) for name in peers]
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


def extrapolated(rows: list[dict], depth: int) -> dict[str, float]:
    """The seconds a token that each peer would need at this depth, where enough was measured to say so."""
    found = {name: seconds_a_token(rows, name, depth) for name in peers_of(rows, "depth")[1]}
    return {name: seconds for name, seconds in found.items() if seconds is not None and depth > 0}


def synthetic_table(rows: list[dict]) -> str:
    """restkv's rates with made-up rows, beside what the peers' measured depths let expect."""
    _, peers = peers_of(rows, "depth")
    body = []
    for depth in unique(rows, "synthetic", "n_depth"):
        expected = extrapolated(rows, depth)
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


def settings_table(rows: list[dict], tokens: int) -> str:
    """What each setting of a peer gave; tokens: of the prompt that settings are tried with."""
    rows = [row for row in rows if row["section"] == "setting" and row["n_prompt"] == tokens]
    body = []
    for depth in unique(rows, "setting", "n_depth"):
        for label in unique(rows, "setting", "label"):
            read, written = (by_pair(rows, "setting", key, {"n_depth": depth}, label=label)
                             for key in ("prompt_ts", "gen_ts"))
            if read:
                body.append([str(depth), label, str(len(read)), *(spread(list(part.values()), 1)
                                                                  for part in (read, written))])
    return table(["depth", "setting", "tries", "reading, tokens/s", "writing, tokens/s"], body)


def bandwidth(rows: list[dict]) -> str:
    """What the measurements of the machine that stand in the rows say of memory; nothing when there are none."""
    # Reading and writing of one process have a measurement each; where processes take turns both may have the same.
    found = [gbps for row in rows for gbps in {row.get("prompt_machine_gbps"), row.get("gen_machine_gbps")} - {None}]
    if not found:
        return ""
    return (" The machine is measured by each row's own process, its memory just before and after, and where processes take "
            f"turns, just after: its speed changes while it is shared. Over all rows of {RESTKV} memory was read at "
            f"{spread(found, 1)} GB/s.")
