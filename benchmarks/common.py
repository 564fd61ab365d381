"""What benchmarks share: whole-process timers, medians, and one result as one JSON line."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@final
@dataclass(frozen=True)
class Result:
    """One figure beside its goal. Less is better, unless the unit counts per second."""

    name: str
    value: float
    unit: str
    goal: float
    machine: str
    date: str


@final
@dataclass(frozen=True)
class Finished:
    """A process from start to end: wall seconds, its peak resident memory, what it printed."""

    seconds: float
    peak_mib: float
    output: str


def report(name: str, value: float, unit: str, goal: float, **beside: float) -> None:
    """Print what was measured, last of all as one JSON line, and write it to `results/`.

    `beside` are figures to compare with, in the same unit; they are printed above the line and
    kept in the file.
    """
    result = Result(
        name, _short(value), unit, goal, machine(), datetime.now(UTC).date().isoformat()
    )
    print(f"{name}: {result.value:g} {unit} (goal {goal:g} {unit})")
    for other, figure in beside.items():
        print(f"  beside {other}: {_short(figure):g} {unit}")
    kept = {**asdict(result), "beside": {key: _short(figure) for key, figure in beside.items()}}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    print(json.dumps(asdict(result)), flush=True)


def _short(figure: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{figure:.4g}")


def machine() -> str:
    """The processor, its cores and the Python, but no name of the machine."""
    cores = f"{os.cpu_count()} cores"
    return f"{_processor()}, {cores}, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """The median of several measurements."""
    return statistics.median(measure() for _ in range(runs))


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def process(arguments: Sequence[str], folder: Path | None = None) -> Finished:
    """Run a command from start to end; one that fails stops the benchmark."""
    start = time.perf_counter()
    with subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        output = running.stdout.read()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - start
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, list(arguments), output)
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(took, usage.ru_maxrss * unit / 2**20, output)


def python(*arguments: str, folder: Path | None = None) -> Finished:
    """Run this interpreter with some arguments, as a whole process."""
    return process([sys.executable, *arguments], folder)
