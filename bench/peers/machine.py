"""What the machine is, and what it can do: the limits that `restkv bench --machine` measures."""

import os
import platform
import subprocess
from pathlib import Path

from engines import Restkv


def restkv_output(*words: str) -> str:
    return subprocess.run([str(Restkv.program()), *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def machine(threads: int) -> dict:
    lines = restkv_output("bench", "--machine", "-p", "0", "-n", "0", "-t", str(threads)).strip().splitlines()
    cpu = next((line.split(": ", 1)[1] for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    return {"cpu": cpu, "system": platform.system(), "limits": lines, "load": os.getloadavg()[0]}
