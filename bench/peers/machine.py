"""What the machine is, and what it can do: the limits that `restkv bench --machine` measures."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engines import Restkv, Unavailable


def restkv_output(*words: str) -> str:
    done = subprocess.run([str(Restkv.program()), *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"`restkv {' '.join(words)}` ended with {done.returncode}")
    return done.stdout


def limits(threads: int) -> list[str]:
    """A line for one thread and one for all: "machine: 2 threads  195.0 GFLOPS f32, 28.0 GB/s read"."""
    return restkv_output("bench", "--machine", "-p", "0", "-n", "0", "-t", str(threads)).strip().splitlines()


def cpu() -> str:
    return next((line.split(": ", 1)[1] for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")), platform.processor())


def machine(threads: int) -> dict:
    load = os.getloadavg()[0]  # before the limits are measured, which keeps all threads busy
    return {"cpu": cpu(), "system": platform.system(), "limits": limits(threads), "load": load}


@dataclass(frozen=True)
class Speed:
    """What the machine did at some time; attention is held against `gflops`, products with weights against the other."""

    gflops: float
    product_gflops: float
    gbps: float

    @staticmethod
    def of(lines: list[str], threads: int) -> "Speed | None":
        """With so many threads; None when the lines do not say it."""
        for line in lines:
            if line.startswith(f"machine: {threads} thread"):
                rates = [(float(rate), kind) for rate, kind in re.findall(r"([\d.]+) GFLOPS (\w+)", line)]
                return Speed(gflops=max(rate for rate, kind in rates if not kind.startswith("int")),
                             product_gflops=max(rate for rate, _ in rates),
                             gbps=float(re.search(r"([\d.]+) GB/s", line)[1]))
        return None

    def held_against(self, row: dict) -> dict:
        """The row's share of the limit, and what the limits were, as restkv's own rows say it."""
        changed = {}
        for kind in ("prompt", "gen"):
            if f"{kind}_gbps" not in row:
                continue
            attention = row[f"{kind}_attention_gflops"]
            by_flops = (row[f"{kind}_gflops"] - attention) / self.product_gflops + attention / self.gflops
            by_bytes = row[f"{kind}_gbps"] / self.gbps
            changed |= {f"{kind}_limit_share": max(by_flops, by_bytes),
                        f"{kind}_limit": "flops" if by_flops > by_bytes else "bandwidth",
                        f"{kind}_machine_gbps": self.gbps, f"{kind}_machine_gflops": self.gflops,
                        f"{kind}_machine_product_gflops": self.product_gflops}
        return changed


UNMEASURED = "machine_unmeasured"  # the field of a row that says why the machine was not measured beside it


def held_against_now(row: dict, threads: int) -> dict:
    """The row with its share of what the machine does now; without one, and why, where that cannot be measured."""
    try:
        speed = Speed.of(limits(threads), threads)
        if speed is None:
            raise Unavailable(f"`restkv bench --machine` says nothing of {threads} threads")
    except Unavailable as error:
        of_machine = ("_limit_share", "_limit", "_machine_gbps", "_machine_gflops", "_machine_product_gflops")
        return {key: value for key, value in row.items() if not key.endswith(of_machine)} | {UNMEASURED: str(error)}
    return row | speed.held_against(row)
