"""A federation in which everything that a checkpoint must hold is in use; also run as a process.

`python checkpoint_case.py FOLDER MODEL [SABOTAGE]` simulates with checkpoints in FOLDER, prints the
number of each round, and writes the model's bytes to MODEL. SABOTAGE `fsync:7` kills the process at
its seventh flush to the disk.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tacit
from tacit.sim.checkpoint import Checkpoints
from tacit.sim.faults import Fault

CLIENTS, ROUNDS = 8, 12


def data(shift: float = 0.0) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(5)
    return {
        f"site-{i}": (draw.normal(size=(8 + i, 4)) + shift, draw.integers(0, 3, 8 + i))
        for i in range(CLIENTS)
    }


def federation(**changes: Any) -> tacit.Federation:
    """Server momentum, memory at clients, over-selection, a deadline, tallies."""
    base = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        clients=CLIENTS,
        data=tacit.arrays(shape=(4,), classes=3),
        algorithm=tacit.fedavg(lr=0.1, batch=4, momentum=0.5),
        protect=(tacit.top_k(0.4), tacit.weigh(), tacit.plain_sum(), tacit.mean()),
        cohort=tacit.fixed(size=4, spare=2),
        rounds=ROUNDS,
        quorum=2,
        deadline=10.0,
        metrics=("loss", "accuracy"),
    )
    return base.replace(**changes)


def trouble(round_: int, client: int) -> Fault:
    """Delays that reach into later rounds, losses, repeats, and failures."""
    draw = (7 * client + 3 * round_) % 11
    fail = "round.lost" if draw == 10 else ""
    return Fault(delay=2.5 * draw, drop=draw == 9, repeats=draw % 2, fail=fail)


def simulate(folder: Path | Checkpoints | None, **arguments: Any) -> tacit.Run:
    given: dict[str, Any] = {"data": data(), "seed": 3, "test": data(), "faults": trouble}
    given |= {"federation": federation(), "checkpoint": folder} | arguments
    return tacit.simulate(**given)


def kill_at(count: int) -> Callable[[Any], None]:
    """`os.fsync` that kills this process when it is called for the `count`-th time."""
    left, flush = [count], os.fsync

    def sabotaged(file: Any) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(file)

    return sabotaged


def told(row: dict[str, float]) -> None:
    sys.stdout.write(f"{row['round']}\n")
    sys.stdout.flush()


def main(folder: str, model: str, sabotage: str = "") -> None:
    if sabotage:
        os.fsync = kill_at(int(sabotage.partition(":")[2]))  # type: ignore[assignment]  # narrower
    run = simulate(Path(folder), progress=told)
    Path(model).write_bytes(run.model.params.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
