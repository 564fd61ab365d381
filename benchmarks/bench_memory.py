"""The peak memory of a simulation above that of a plain PyTorch loop on the same data.

Whole processes from start to end, data and libraries included in both; where a run has several
processes, what they share counts once (proportional set size, sampled; Linux only).
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.common import python, report

GOAL = 300.0
"""MiB above the plain loop."""

PAUSE = 0.05
"""Seconds between samples."""

JOB = ("-m", "benchmarks.jobs.memory_job")


def above(name: str, workload: str, rounds: int, engine: str) -> None:
    """Of a run in one process."""
    mine, theirs = (python(*JOB, workload, one, str(rounds)).peak_mib for one in (engine, "plain"))
    report(name, mine - theirs, "MiB", GOAL, tacit=mine, plain_loop=theirs)


def above_together(name: str, workload: str, rounds: int, engine: str) -> None:
    """Of a run in several processes, all of them together."""
    mine, theirs = (_together(workload, one, str(rounds)) for one in (engine, "plain"))
    report(name, mine - theirs, "MiB", GOAL, tacit=mine, plain_loop=theirs)


def _together(*arguments: str) -> float:
    """The largest sum, in MiB, over a process and its descendants; its errors end this."""
    command, peak = [sys.executable, *JOB, *arguments], 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            peak = max(peak, sum(_share(process) for process in _family(running.pid)))
            time.sleep(PAUSE)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    return peak


def _family(process: int) -> Iterator[int]:
    """The process and its descendants."""
    yield process
    with contextlib.suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text("utf-8").split():
                yield from _family(int(child))


def _share(process: int) -> float:
    """Its proportional set size in MiB; nothing once it has ended."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/smaps_rollup").read_text("utf-8")
        if found := re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE):
            return int(found[1]) / 1024
    return 0.0


NAMES: dict[str, Callable[[], None]] = {
    "memory_w2": partial(above, "memory_w2", "w2", 2, "exact"),
    "memory_w2_stacked": partial(above, "memory_w2_stacked", "w2", 2, "stacked"),
    "memory_w3": partial(above, "memory_w3", "w3", 12, "stacked"),
    "memory_w3_exact": partial(above, "memory_w3_exact", "w3", 4, "exact"),
    "memory_w3_pool": partial(above_together, "memory_w3_pool", "w3", 12, "stacked_pool"),
}
