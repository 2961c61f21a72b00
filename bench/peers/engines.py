"""The engines that are compared: how each is brought, and how one measurement is made with it.

Everything that is installed lies under ${XDG_CACHE_HOME:-~/.cache}/restkv/peers, one environment for
each peer; nothing touches the work tree.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restkv" / "peers"

IK_PACKAGE = "ik-llama-cpp-python==0.1.5"
OPENVINO_PACKAGE = "openvino-genai==2026.4.1.0"
PICTURES_PACKAGE = "matplotlib==3.11.2"


class Unavailable(Exception):
    """This engine cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Task:
    """What one process measures: a prompt, tokens generated, or both one after the other, at a depth."""

    n_prompt: int
    n_gen: int
    n_depth: int = 0
    warmup: bool = True


@dataclass
class Measurement:
    prompt_ts: float = 0.0  # tokens per second
    gen_ts: float = 0.0
    peak_bytes: int = 0  # the most that the whole process had resident
    extra: dict = field(default_factory=dict)  # fields of the rows that only we have


def environment(name: str, package: str) -> Path:
    """The Python of the named environment, with the package in it."""
    folder = CACHE / name
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == package:
        return python
    print(f"installing {package} in {folder}", file=sys.stderr)
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no environment could be made in {folder}: {error}") from error
    done = subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", package],
                          stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise Unavailable(f"pip could not install {package}")
    stamp.write_text(package, encoding="utf-8")
    return python


def version_of(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package.split('=')[0]!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def output(command: list[str]) -> tuple[str, int]:
    """What the command prints, and its peak of resident memory in bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            lines = [line for line in err.read().decode(errors="replace").splitlines() if line.strip()]
            raise Unavailable(lines[-1] if lines else f"{command[0]} ended with {process.returncode}")
        return out.read().decode(errors="replace"), usage.ru_maxrss * 1024


def rows_in(text: str) -> list[dict]:
    """The rows that are printed as JSON; libraries may print lines of their own before them. ValueError when there are none."""
    start = max(text.rfind("\n["), 0)
    return json.loads(text[text.index("[", start):])


def run(command: list[str]) -> tuple[list[dict], int]:
    """Rows that the command prints as JSON, and its peak of resident memory in bytes."""
    text, peak = output(command)
    try:
        return rows_in(text), peak
    except ValueError as error:
        raise Unavailable(f"no rows in what {Path(command[0]).name} printed: {error}") from error


class Turns:
    """One process that measures a task several times, and stands still between two of its turns.

    Its cache is read to the depth once, however many turns there are, so that turns of different engines
    can follow each other at depths that take many minutes to reach. Every engine waits a few seconds before
    a test (--delay); in these it is stopped and let go on.
    """

    def __init__(self, engine: "Engine", model: str, threads: int, task: Task, reads: int, writes: int):
        self.engine, self.task = engine, task
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(engine.turns_command(model, threads, task, reads, writes),
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.process.send_signal(signal.SIGSTOP)
        self.failed = False

    def next(self) -> Measurement:
        """What the next test gives. The first waits for the model and the cache at its depth."""
        self.process.send_signal(signal.SIGCONT)
        for line in self.process.stdout:
            if line.lstrip().startswith("{"):
                self.process.send_signal(signal.SIGSTOP)
                try:
                    return self.engine.measurement([json.loads(line)], self._peak())
                except ValueError as error:
                    raise Unavailable(f"no row in what it printed: {error}") from error
        raise Unavailable(self._reason())

    def _peak(self) -> int:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def _reason(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"{self.engine.name} ended with {self.process.returncode}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Engine:
    """One engine in one setting. prepare() brings what it needs or raises Unavailable."""

    name = ""  # of the engine
    setting = ""

    @property
    def label(self) -> str:
        return f"{self.name} {self.setting}".strip()

    def prepare(self) -> None:
        pass

    def version(self) -> str:
        return ""

    def command(self, model: str, threads: int, task: Task) -> list[str]:
        """Measures the task once and prints the rows as a list."""
        raise NotImplementedError

    def turns_command(self, model: str, threads: int, task: Task, reads: int, writes: int) -> list[str]:
        """`reads` tests of the prompt, then `writes` of the tokens written; prints each as a line."""
        words = self.command(model, threads, task)
        for flag, turns in (("-p", reads), ("-n", writes)):
            value = words.index(flag) + 1
            words[value] = ",".join([words[value]] * turns) or "0"
        return [*words, "-o", "jsonl", "--delay", DELAY]

    def measure(self, model: str, threads: int, task: Task) -> Measurement:
        return self.measurement(*run(self.command(model, threads, task)))

    def measurement(self, rows: list[dict], counted: int) -> Measurement:
        """counted: the peak of the process from its start, as the system knows it."""
        result = Measurement(peak_bytes=self.peak(rows, counted))
        for row in rows:
            kind = "prompt" if row["n_gen"] == 0 else "gen"
            setattr(result, f"{kind}_ts", row["avg_ts"])
            result.extra |= {f"{kind}_{name}": row[name] for name in FIELDS if name in row}
        return result

    def peak(self, rows: list[dict], counted: int) -> int:
        return counted


DELAY = "4"  # seconds before each test in which a process can be stopped
# Kept of our rows, beside the rates.
FIELDS = ("kv_bytes", "isa", "fill", "limit_share", "limit", "gflops", "attention_gflops", "gbps", "machine_gflops",
          "machine_product_gflops", "machine_gbps")


def common(model: str, threads: int, task: Task) -> list[str]:
    words = ["-m", model, "-t", str(threads), "-p", str(task.n_prompt), "-n", str(task.n_gen), "-d",
             str(task.n_depth)]
    return words if task.warmup else [*words, "--no-warmup"]


def built_from(program: Path) -> str:
    """The commit that a restkv was built from, as it says itself: "restkv 0.1.0 (abc1234)"."""
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    return said.strip().rpartition("(")[2].rstrip(")") if "(" in said else "unknown"


class Restkv(Engine):
    name = "restkv"

    def __init__(self, policy: str = "full", budget: int = 1024, fill: str = "prompt", prefill: str = "dense"):
        self.options = ["--kv-policy", policy, "--kv-budget", str(budget), "--fill", fill, "--prefill", prefill,
                        "--machine"]
        self.setting = policy if policy == "full" else f"{policy} {budget}"
        if prefill != "dense":
            self.setting += f", {prefill}"

    def prepare(self) -> None:
        if not self.program().is_file():
            raise Unavailable(f"{self.program()} is missing: `make build` builds it")

    @staticmethod
    def program() -> Path:
        return Path(os.environ.get("RESTKV_PROGRAM") or ROOT / "build" / "bin" / "restkv")

    @functools.cache
    def version(self) -> str:
        return built_from(self.program())

    def command(self, model: str, threads: int, task: Task) -> list[str]:
        return [str(self.program()), "bench", *common(model, threads, task), *self.options, "-r", "1", "-o", "json"]

    def peak(self, rows: list[dict], counted: int) -> int:
        """The bench starts the system's count anew for every row, so it says itself what came before."""
        if any("process_peak_rss_bytes" not in row for row in rows):
            raise Unavailable("this build does not tell the peak of its whole process, which that of the others is")
        # None where what --machine reads cannot be taken out; that counts against us then.
        return max(counted, *(row["process_peak_rss_bytes"] or 0 for row in rows))


class LlamaCpp(Engine):
    name = "llama.cpp"
    folder: Path | None = None

    def __init__(self, flash_attention: int, keys: str, values: str | None = None):
        """values: as the keys, unless given; without flash attention they cannot be quantised."""
        values = values or keys
        self.setting = f"-fa {flash_attention} {keys}" + (f" keys, {values} values" if values != keys else "")
        self.options = ["-fa", str(flash_attention), "-ctk", keys, "-ctv", values]

    def prepare(self) -> None:
        if LlamaCpp.folder is not None:
            return
        built = subprocess.run([ROOT / "tools" / "build_llama_cpp", "--programs"], stdout=subprocess.PIPE, text=True,
                               check=False)
        if built.returncode != 0:
            raise Unavailable("llama.cpp's bench could not be built")
        LlamaCpp.folder = Path(built.stdout.strip().rsplit("LLAMA_CPP_PROGRAMS_DIR=", 1)[1])

    def version(self) -> str:
        return f"of llama-cpp-python {self.folder.parent.parent.name}"  # .../<version>/programs-<key>/bin

    def command(self, model: str, threads: int, task: Task) -> list[str]:
        return [str(self.folder / "llama-bench"), *common(model, threads, task), *self.options, "-r", "1", "-o", "json"]


class IkLlama(Engine):
    name = "ik_llama.cpp"

    def __init__(self, cache_type: str):
        self.setting = f"fa, repacked, {cache_type}"
        self.options = ["--cache-type", cache_type]

    def prepare(self) -> None:
        self.python = environment("ik", IK_PACKAGE)

    def version(self) -> str:
        return version_of(self.python, IK_PACKAGE)

    def command(self, model: str, threads: int, task: Task) -> list[str]:
        return [str(self.python), str(HERE / "ik_bench.py"), *common(model, threads, task), *self.options]


class OpenVino(Engine):
    name = "OpenVINO GenAI"

    def __init__(self, evict: int):
        self.setting = f"evicting to {evict}" if evict else "full"
        self.options = ["--evict", str(evict)]

    def prepare(self) -> None:
        self.python = environment("openvino", OPENVINO_PACKAGE)

    def version(self) -> str:
        return version_of(self.python, OPENVINO_PACKAGE)

    def command(self, model: str, threads: int, task: Task) -> list[str]:
        return [str(self.python), str(HERE / "openvino_bench.py"), *common(model, threads, task), *self.options]


def path_of_copy(model: str) -> Path:
    return CACHE / (Path(model).stem + ".pure-q8_0.gguf")


def readable_copy(model: str) -> str:
    """The model in Q8_0 throughout, for engines that cannot read its mixture of types; made once."""
    copy = path_of_copy(model)
    if not copy.is_file():
        package = environment("ik", IK_PACKAGE).parent.parent.glob("lib/python*/site-packages/ik_llama_cpp")
        quantize = next(package) / "bin" / "llama-quantize"
        part = copy.with_suffix(".part")
        done = subprocess.run([quantize, "--allow-requantize", "--pure", model, part, "Q8_0"], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"no Q8_0 copy of {model} could be made")
        part.rename(copy)
    return str(copy)
