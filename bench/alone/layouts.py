"""Tables of the measurements of bench/alone, one function for each entry. A row is what one program said; `round` says when."""

from tables import ratios, spread, table

MIB = 1048576


def values(rows: list[dict], key: str, **at) -> list:
    """Of all rows that match and have one."""
    return [row[key] for row in rows if row.get(key) is not None and all(row.get(name) == value for name, value in at.items())]


def by_round(rows: list[dict], key: str, **at) -> dict[int, float]:
    return {row["round"]: row[key] for row in rows if all(row.get(name) == value for name, value in at.items())}


def unique(rows: list[dict], *keys: str) -> list[tuple]:
    return list(dict.fromkeys(tuple(row[key] for key in keys) for row in rows))


def rates(rows: list[dict]) -> list[float]:
    """Tokens per second of every sample of the rows of `restkv bench`."""
    return [rate for row in rows for rate in row["samples_ts"]]


def of_samples(row: dict, mean: float) -> list[float]:
    """What is said of the mean time of a row, of each of its samples."""
    return [mean * row["avg_ns"] / ns for ns in row["samples_ns"]]


def limit_shares(rows: list[dict]) -> list[float]:
    return [100 * share for row in rows if "limit_share" in row for share in of_samples(row, row["limit_share"])]


def bandwidth_shares(rows: list[dict]) -> list[float]:
    """Percent of what the machine reads, by the bytes that the work needs."""
    return [100 * share for row in rows if row.get("machine_gbps")
            for share in of_samples(row, row["gbps"] / row["machine_gbps"])]


def machine(rows: list[dict]) -> str:
    """What the rows' own processes found the machine to do: arithmetic before the first row, memory around each; nothing
    where they did not ask."""
    if not values(rows, "machine_gbps"):
        return ""
    flops, products, memory = (sorted(set(values(rows, key)))
                               for key in ("machine_gflops", "machine_product_gflops", "machine_gbps"))
    return (f"Just before, the machine did {spread(flops, 0)} GFLOPS of what attention is held against, {spread(products, 0)} "
            f"of what products with weights are; around the rows it read {spread(memory, 1)} GB/s.\n\n")


def at_depth(rows: list[dict], depth: int, writing: bool) -> list[dict]:
    return [row for row in rows if row["n_depth"] == depth and (row["n_gen"] > 0) == writing]


def depths(rows: list[dict]) -> str:
    body = []
    for depth, in unique(rows, "n_depth"):
        read, written = at_depth(rows, depth, False), at_depth(rows, depth, True)
        body.append([str(depth), spread(rates(read), 1), spread(limit_shares(read), 0), spread(rates(written), 1),
                     spread(limit_shares(written), 0), spread(bandwidth_shares(written), 0)])
    prompt, gen = (max(row[key] for row in rows) for key in ("n_prompt", "n_gen"))
    return machine(rows) + table(["depth", f"reading {prompt}", "% of the limit", f"writing {gen}", "% of the limit",
                                  "% of the read bandwidth"], body)


def profile(rows: list[dict]) -> str:
    """As bench/profile prints it: the first three columns say what, all others are percent."""
    what, percent = list(rows[0])[:3], [key for key in list(rows[0])[3:] if key != "round"]
    rows = sorted(rows, key=lambda row: row["work"])  # reading, then writing; each was a part of every depth
    body = [[*map(str, case), *(spread(values(rows, key, **dict(zip(what, case))), 1) for key in percent)]
            for case in unique(rows, *what)]
    return table([*what, *percent], body)


def wide_cache(rows: list[dict]) -> str:
    body = []
    for depth, budget, layers in unique(rows, "depth", "budget", "layers"):
        full, kept, times = (values(rows, key, depth=depth) for key in ("full_ms", "kept_ms", "times"))
        body.append([str(depth), str(layers), spread(full, 0), f"{spread(kept, 1)} ({budget})", spread(times, 2)])
    return table(["depth", "layers, extrapolated", "full cache, ms a token", "rest-kv, ms a token (budget)",
                  "times as fast"], body)


def peaks(rows: list[dict]) -> list[dict]:
    """Rows of the prompts with `percent` of the weights with a full cache; none where that cache was not measured."""
    full = values(rows, "kv_bytes", kv_policy="full")
    prompts = [row | {"whole": row["model_size"] + full[-1]} for row in rows if full and row["kv_policy"] != "full"]
    return [row | {"percent": 100 * row["peak_rss_bytes"] / row["whole"]} for row in prompts if row["peak_rss_bytes"] is not None]


def peak_memory(rows: list[dict]) -> str:
    found = peaks(rows)
    if not found:
        return "A share needs the full cache and a prompt, and not both were measured.\n"
    body = []
    for prompt, kind in unique(found, "n_prompt", "hidden_type"):
        at = {"n_prompt": prompt, "hidden_type": kind}
        mib = [spread([n / MIB for n in values(found, key, **at)], 0)
               for key in ("peak_rss_bytes", "process_peak_rss_bytes", "model_size", "hidden_bytes", "kv_bytes_peak", "whole")]
        body.append([str(prompt), kind, *mib, spread(values(found, "percent", **at), 1)])
    return table(["prompt", "hidden states", "peak, MiB", "from the start of the process", "weights", "hidden states, MiB",
                  "cache while reading", "weights and full cache", "%"], body)


def variants(rows: list[dict]) -> str:
    body = []
    for tokens, count in unique(rows, "tokens", "variants"):
        columns = [spread(values(rows, key, tokens=tokens), digits) for key, digits in
                   (("one_s", 1), ("all_s", 1), ("prefill_times", 2), ("one_ts", 1), ("all_ts", 1), ("decode_times", 2))]
        body.append([str(tokens), str(count), str(len(values(rows, "one_s", tokens=tokens))), *columns])
    return table(["tokens", "caches", "rounds", "prefill for one, s", "for all, s", "times", "decode of one, tokens/s",
                  "of all, tokens/s", "times"], body)


def bounded_ratios(rows: list[dict]) -> dict[int, list[float]]:
    """depth -> the rate there over that at the least depth, round by round."""
    found = sorted(depth for depth, in unique(rows, "n_depth"))
    first = by_round(rows, "avg_ts", n_depth=found[0])
    return {depth: ratios(by_round(rows, "avg_ts", n_depth=depth), first) for depth in found[1:]}


def bounded(rows: list[dict]) -> str:
    over = bounded_ratios(rows)
    body = [[str(depth), policy, budget, spread(values(rows, "avg_ts", n_depth=depth), 1),
             spread(over[depth], 2) if depth in over else ""]
            for depth, policy, budget in unique(rows, "n_depth", "kv_policy", "kv_budget")]
    return table(["depth", "policy", "budget", "tokens/s", "over the least depth"], body)


def sparse_decode(rows: list[dict]) -> str:
    body = []
    for depth, way, budget in unique(rows, "n_depth", "decode_attn", "decode_budget"):
        own = [row for row in rows if row["n_depth"] == depth and row["decode_attn"] == way]
        body.append([str(depth), way, budget, spread(rates(own), 1), spread(limit_shares(own), 0),
                     spread(bandwidth_shares(own), 0)])
    return machine(rows) + table(["depth", "attention", "reads", "tokens/s", "% of the limit", "% of the read bandwidth"], body)


def prefill_attention(rows: list[dict]) -> str:
    body = []
    for keys, group, head_dim in unique(rows, "keys", "group", "head_dim"):
        at = {"keys": keys, "group": group, "head_dim": head_dim}
        body.append([str(keys), str(group), str(head_dim),
                     *(spread(values(rows, key, **at), 1) for key in ("gflops", "peak", "share"))])
    return table(["keys", "query heads in a group", "head_dim", "GFLOPS", "peak", "%"], body)


def eval_cost(rows: list[dict]) -> str:
    body = [[str(methods * budgets), *(spread(values(rows, key, methods=methods, budgets=budgets), digits)
                                       for key, digits in (("alone_s", 1), ("all_s", 1), ("times", 2)))]
            for methods, budgets in unique(rows, "methods", "budgets")]
    return table(["methods and budgets", "full cache alone, s", "all together, s", "times"], body)


def block_sparse(rows: list[dict]) -> str:
    densities = [density for density, in unique(rows, "density")]
    body = [[str(group), *(spread(values(rows, "of_share", group=group, density=density), 2) for density in densities)]
            for group, in unique(rows, "group")]
    return table(["query heads in a group", *(f"density {density:.2f}" for density in densities)], body)
