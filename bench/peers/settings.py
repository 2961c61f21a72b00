"""The settings that each peer is tried in, and the choice of the best."""

from engines import Engine, IkLlama, LlamaCpp, Task, Unavailable
from results import Run

PEERS = {
    "llama.cpp": [LlamaCpp(0, "f16"), LlamaCpp(1, "f16"), LlamaCpp(1, "q8_0")],
    "ik_llama.cpp": [IkLlama("q8_0"), IkLlama("f16")],
}


def best_settings(run: Run, model: str, depth: int) -> dict[str, list[tuple[Engine, int, int]]]:
    """For each peer: (setting, prompt tokens, tokens to write) such that both are done in their best setting."""
    chosen = {}
    for name, settings in PEERS.items():
        if name in run.args.without:
            continue
        rates = {}
        for engine in settings:
            try:
                engine.prepare()
            except Unavailable as error:
                run.note(f"{name}: {error}")
                continue
            run.data["versions"][name] = engine.version()
            row = run.measure("setting", engine, model, Task(run.args.prompt, run.args.gen, depth), 0)
            if row:
                rates[engine] = (row["prompt_ts"], row["gen_ts"])
        if not rates:
            continue
        reads, writes = (max(rates, key=lambda engine, i=i: rates[engine][i]) for i in (0, 1))
        run.data["settings"][f"{name} @ d{depth}"] = {"prompt": reads.setting, "gen": writes.setting}
        if reads is writes:
            chosen[name] = [(reads, run.args.prompt, run.args.gen)]
        else:
            chosen[name] = [(reads, run.args.prompt, 0), (writes, 0, run.args.gen)]
    return chosen
