"""Deployment with true clients: `tacit serve` and several `tacit client`, workers in sandboxes."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tacit
from benchmarks.common import HERE, report
from benchmarks.jobs.deployed import (
    Used,
    ended,
    lines,
    process_of,
    round_seconds,
    submitted,
    transferred,
)
from tacit.deploy.rehearse import DATASET, Rehearsal
from tacit.learn.examples import Examples
from tacit.plan.federation import Federation

JOBS = HERE / "jobs"


def sites(count: int, features: int) -> dict[str, Examples]:
    """Ten records each."""
    draw = np.random.default_rng(0)
    return {
        f"site {number}": Examples(
            draw.standard_normal((10, features)).astype(np.float32), draw.integers(0, 2, 10)
        )
        for number in range(count)
    }


def small(clients: int, rounds: int, lr: float) -> Federation:
    """1,000 parameters."""
    return Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(999,), classes=2),
        algorithm=tacit.fedavg(lr=lr),
        clients=clients,
        rounds=rounds,
    )


def first_round() -> None:
    """Four waiting clients: seconds from submitting a run to the first answer, and to the last."""
    first, last, opened = [], [], []
    with (
        tempfile.TemporaryDirectory(prefix="tacit-bench-") as place,
        Rehearsal(Path(place), sites(4, 999)) as here,
    ):
        for number in range(5):
            time.sleep(8.0)  # they are idle again, and have a worker ready
            began = time.time()
            run = submitted(here, small(4, 1, 0.1 + number / 100), DATASET)
            ended(here, run)
            told = lines(here, run)
            opened.append(next(one.at for one in told if one.kind == "opened") - began)
            answers = [one.at - began for one in told if one.kind == "answered"]
            first.append(answers[0])
            last.append(answers[-1])
    median = statistics.median
    beside = {"opened": median(opened), "last_answer": median(last), "slowest": max(first)}
    report("first_round", median(first), "s", 1.0, **beside)


def small_round_processes() -> None:
    """Ten true clients, 1,000 parameters: milliseconds a round."""
    with (
        tempfile.TemporaryDirectory(prefix="tacit-bench-") as place,
        Rehearsal(Path(place), sites(10, 999)) as here,
    ):
        took = round_seconds(ended(here, submitted(here, small(10, 20, 0.1), DATASET)))
    report("small_round_processes", 1000 * statistics.median(took), "ms", 1000.0)


def w4() -> None:
    """Four true clients, 10 million float32 up and down over TLS: seconds a round."""
    sys.path.insert(0, str(JOBS))
    federation = Federation(
        task=tacit.torch.task("echo:Echo", size=10_000_000),
        data=tacit.arrays(shape=(2,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, steps=1),
        clients=4,
        rounds=8,
    )
    approved = (federation.task.code,)
    with (
        tempfile.TemporaryDirectory(prefix="tacit-bench-") as place,
        Rehearsal(Path(place), sites(4, 2), JOBS, approved=approved) as here,
    ):
        used = Used.of(process_of(here))
        took = round_seconds(ended(here, submitted(here, federation, DATASET)))
        wire, peak, cpu = transferred(here) / 1e6, used.peak, used.seconds
    report("w4", statistics.median(took), "s", 1.5, fastest=min(took), slowest=max(took))
    print(f"  the coordinator used {cpu / federation.rounds:.2f} s of a processor a round")
    report("w4_bytes", wire / federation.rounds, "MB a round", 330.0)
    report("w4_memory", peak, "MiB", 300.0)


NAMES: dict[str, Callable[[], None]] = {
    "first_round": first_round,
    "w4": w4,
    "small_round_processes": small_round_processes,
}
