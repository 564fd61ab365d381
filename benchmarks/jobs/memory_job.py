"""WORKLOAD by ENGINE, or by the `plain` loop, for ROUNDS: a process whose memory is measured."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.workloads import ours, plain, w2, w3

WORKLOADS = {"w2": w2, "w3": w3}


def main(name: str, engine: str, rounds: int) -> None:
    """Make the data and learn; cohorts of the same size either way."""
    workload = WORKLOADS[name]()
    data = workload.data()
    if engine != "plain":
        ours(workload, data, rounds, engine)
        return
    draw = np.random.default_rng(0)
    cohorts = [
        sorted(draw.choice(workload.clients, workload.cohort, replace=False).tolist())
        for _ in range(rounds)
    ]
    plain(workload, data, cohorts)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
