"""Rounds of tacit beside a plain PyTorch loop on one thread, and what protection adds to them.

Every figure is a ratio of seconds, measured in turns in one process, and counts only if the
weights are the plain loop's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tacit
from benchmarks.common import report
from benchmarks.workloads import Workload, as_torch, ours, plain, w1, w1_torch, w2, w3
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.sim.simulate import simulate

TURNS = 5

CLIP = 2.0
"""About the norm of an update here."""


def rounds(name: str, make: Callable[[], Workload], count: int, goal: float, engine: str) -> None:
    """Seconds a round over those of the plain loop."""
    workload = make()
    data, plan = workload.data(), workload.federation(1).plan()
    mine, theirs = [], []
    for _ in range(TURNS):
        found = ours(workload, data, count, engine)
        reference = plain(workload, data, found.cohorts)
        _gate(name, as_torch(plan, found.params) - reference.params, 1e-4)
        mine.append(statistics.median(found.seconds))
        theirs.append(statistics.median(reference.seconds))
    print(*found.notices, sep="\n")
    print(f"Seconds a round: {min(mine):.4g}, plain loop {min(theirs):.4g}")
    ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    report(name, ratio, "of the plain loop", goal)


def chain(name: str, make: Callable[[], Workload], count: int, engine: str) -> None:
    """Core seconds of rounds with clip, quantise and the ideal secure sum, over those without.

    Each round counts with its fastest turn, so that what else the machine does is left out.
    """
    workload = make()
    data, bare, whole = workload.data(), [], []
    protect = tacit.secure_average(clip=CLIP, cap=400.0)
    exact = ours(workload, data, count, "exact", protect)
    for _ in range(TURNS):
        bare.append(_core_rounds(workload.federation(count), data, engine)[0])
        seconds, params = _core_rounds(workload.federation(count, protect), data, engine)
        _gate(name, exact.params - params, 1e-3)  # some numbers round to the other side
        whole.append(seconds)
    slow, fast = (float(np.mean(np.min(one, axis=0))) for one in (whole, bare))
    print(f"Core seconds a round: {slow:.4g}, without the chain {fast:.4g}")
    report(name, slow / fast, "of the bare round", 1.15)


def _core_rounds(federation: Any, data: Any, engine: str) -> tuple[list[float], Any]:
    """Processor time of each round but the first, and the model's vector."""
    moments: list[float] = []
    found = simulate(
        federation, data, progress=lambda _: moments.append(time.process_time()), engine=engine
    )
    return np.diff(moments).tolist(), found.params


def dp_step() -> None:
    """Core seconds of clipped gradients' sum on the convolutional network, over the plain one's."""
    task = w2().federation(1).plan().task
    draw = np.random.default_rng(0)
    batch = Examples(draw.standard_normal((20, 1, 28, 28), np.float32), draw.integers(0, 62, 20))
    params, key = task.start(Key.seed(0)), Key.seed(0)
    gradient = task.grad(params, batch, key).trained
    _gate("dp_step", task.clipped_grad_sum(params, batch, 1e9, key) / 20 - gradient, 1e-5)
    bare = partial(task.grad, params, batch, key)
    clipped = partial(task.clipped_grad_sum, params, batch, 1.0, key)
    pairs = [(_core_seconds(clipped), _core_seconds(bare)) for _ in range(40)]
    ratio = statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)
    report("dp_step", ratio, "of the plain step", 1.5)


def _core_seconds(work: Callable[[], object]) -> float:
    """Seconds of processor time of one call, on all cores together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _gate(name: str, difference: Any, limit: float) -> None:
    apart = float(np.abs(difference).max())
    if not apart < limit:
        sys.exit(f"{name}: weights differ by {apart:g}")
    print(f"{name}: weights within {apart:.2g}")


NAMES: dict[str, Callable[[], None]] = {
    "w1": partial(rounds, "w1", w1, 40, 0.06, "stacked"),
    "w1_torch": partial(rounds, "w1_torch", w1_torch, 40, 0.06, "stacked"),
    # Two rounds: in a third a ReLU may open or stay shut by one rounding, as it does in the plain
    # loop itself when its first model is moved by one rounding.
    "w2": partial(rounds, "w2", w2, 2, 0.70, "stacked_pool"),
    "w2_exact": partial(rounds, "w2_exact", w2, 2, 1.0, "exact"),
    "w2_stacked": partial(rounds, "w2_stacked", w2, 2, 1.0, "stacked"),
    "w3": partial(rounds, "w3", w3, 6, 0.28, "stacked_pool"),
    "w3_stacked": partial(rounds, "w3_stacked", w3, 6, 0.56, "stacked"),
    "w1_chain": partial(chain, "w1_chain", w1, 40, "stacked"),
    "w3_chain": partial(chain, "w3_chain", w3, 6, "stacked"),
    "dp_step": dp_step,
}
