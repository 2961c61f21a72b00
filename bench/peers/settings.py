"""The settings that each peer is tried in, and the choice of the best."""

import statistics

from engines import Engine, IkLlama, LlamaCpp, Task, Unavailable
from results import Run

PEERS = {
    "llama.cpp": [LlamaCpp(0, "f16"), LlamaCpp(0, "q8_0", "f16"), LlamaCpp(1, "f16"), LlamaCpp(1, "q8_0")],
    "ik_llama.cpp": [IkLlama("q8_0"), IkLlama("f16")],
}
KINDS = ("prompt_ts", "gen_ts")
NEAR = 0.9  # of the best rate: one sample cannot tell these apart
SAMPLES = 3  # of each of them


def best_settings(run: Run, model: str, depth: int) -> dict[str, list[tuple[Engine, int, int]]]:
    """For each peer: (setting, prompt tokens, tokens to write) such that both are done in their best setting."""
    chosen = {}
    for name in asked_peers(run):
        found = best_of(run, model, depth, name)
        if not found:
            continue
        reads, writes = found
        if reads is writes:
            chosen[name] = [(reads, run.args.prompt, run.args.gen)]
        else:
            chosen[name] = [(reads, run.args.prompt, 0), (writes, 0, run.args.gen)]
    return chosen


def asked_peers(run: Run) -> list[str]:
    return [name for name in PEERS if name not in run.args.without]


def best_of(run: Run, model: str, depth: int, name: str) -> list[Engine]:
    """A peer's best setting for reading and for writing, kept with the results; nothing where it cannot be measured."""
    found = settled(run, name, depth)
    if not found and (rates := tried(run, model, depth, PEERS[name])):
        found = [best(rates, kind) for kind in KINDS]
    if found:
        run.data["settings"][f"{name} @ d{depth}"] = {"prompt": found[0].setting, "gen": found[1].setting}
    return found


def settled(run: Run, name: str, depth: int) -> list[Engine]:
    """What an earlier run chose for reading and for writing, where it has rounds in it already: another choice would
    divide rounds in one setting by rounds in another."""
    if not run.args.resume or not any(row["section"] == "depth" and row["engine"] == name and row["n_depth"] == depth
                                      for row in run.data["measured"]):
        return []
    of = {engine.setting: engine for engine in PEERS[name]}
    chosen = [of.get(setting) for setting in run.data["settings"].get(f"{name} @ d{depth}", {}).values()]
    ready = len(chosen) == len(KINDS) and None not in chosen and all(prepared(run, engine) for engine in chosen)
    return chosen if ready else []


def for_whole_prompts(run: Run, model: str) -> list[Engine]:
    """Each peer in the setting that was best for reading at the greatest depth where settings were tried, in this run or
    in that which it goes on from; tried without a depth where none was."""
    chosen = []
    for name in asked_peers(run):
        depths = [int(key.rpartition(" @ d")[2]) for key in run.data["settings"] if key.startswith(f"{name} @ d")]
        if not depths:
            chosen += best_of(run, model, 0, name)[:1]
            continue
        best_at = run.data["settings"][f"{name} @ d{max(depths)}"]["prompt"]
        chosen += [engine for engine in PEERS[name] if engine.setting == best_at and prepared(run, engine)]
    return chosen


def prepared(run: Run, engine: Engine) -> bool:
    """Whether the engine is here. What an earlier run noted about that is forgotten, and why it is not is noted."""
    run.forget(f"{engine.name}: ")
    try:
        engine.prepare()
    except Unavailable as error:
        run.note(f"{engine.name}: {error}")
        return False
    run.data["versions"][engine.name] = engine.version()
    return True


def tried(run: Run, model: str, depth: int, settings: list[Engine]) -> dict[Engine, dict[str, list[float]]]:
    """The rates of every setting: a sample of each, and more, in turn, of those that are near the best."""
    task = Task(run.args.prompt, run.args.gen, depth)
    rates: dict[Engine, dict[str, list[float]]] = {}

    def sample(engine: Engine, pair: int) -> None:
        if row := run.measure("setting", engine, model, task, pair):
            for kind in KINDS:
                rates.setdefault(engine, {}).setdefault(kind, []).append(row[kind])

    for engine in settings:
        if prepared(run, engine):
            sample(engine, 0)
    again = near_the_best(rates)
    for pair in range(1, SAMPLES):
        for engine in again:
            sample(engine, pair)
    return rates


def best(rates: dict[Engine, dict[str, list[float]]], kind: str) -> Engine:
    return max(rates, key=lambda engine: statistics.median(rates[engine][kind]))


def near_the_best(rates: dict[Engine, dict[str, list[float]]]) -> list[Engine]:
    """The best by its first sample and all that come near it, in reading or writing; none where none comes near."""
    found = set()
    for kind in KINDS:
        most = max((of[kind][0] for of in rates.values()), default=0.0)
        near = {engine for engine, of in rates.items() if of[kind][0] >= NEAR * most}
        if len(near) > 1:
            found |= near
    return [engine for engine in rates if engine in found]
