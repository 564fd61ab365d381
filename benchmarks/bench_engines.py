"""Rounds of the stacked engine beside a plain PyTorch loop on one thread, on equal weights.

Every figure is a ratio of seconds a round, measured in turns in one process: tacit / plain loop.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np

import tacit
from benchmarks.common import report
from benchmarks.workloads import Workload, as_torch, ours, plain, w1, w1_torch, w2, w3

TURNS = 3


def chain(workload: Workload) -> Any:
    """Clip, weigh, quantise, and the ideal secure sum; the clip is out of the way of the data."""
    return tacit.secure_average(clip=10.0, cap=400.0)


def measure(
    name: str, workload: Workload, rounds: int, goal: float, engine: str = "stacked"
) -> None:
    """Both in turns; stops where the weights differ."""
    data = workload.data()
    plan = workload.federation(1).plan()
    mine, theirs = [], []
    for _ in range(TURNS):
        found = ours(workload, data, rounds, engine)
        reference = plain(workload, data, found.cohorts)
        apart = float(np.abs(as_torch(plan, found.params) - reference.params).max())
        if not apart < 1e-4:
            sys.exit(f"{name}: weights differ by {apart:g}")
        mine.append(statistics.median(found.seconds))
        theirs.append(statistics.median(reference.seconds))
    print(f"{name}: weights within {apart:.2g}; {'; '.join(found.notices)}")
    ratio = statistics.median(mine) / statistics.median(theirs)
    report(name, ratio, "of the plain loop", goal)
    print(mine, theirs)


NAMES = {
    "w1": lambda: measure("w1", w1(), 12, 0.06),
    "w1_torch": lambda: measure("w1_torch", w1_torch(), 12, 0.06),
    "w3": lambda: measure("w3", w3(), 4, 0.28),
    "w2": lambda: measure("w2", w2(), 2, 0.70),
    "w2_pool": lambda: measure("w2_pool", w2(), 2, 0.70, "pool"),
}
