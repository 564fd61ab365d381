"""CLIENTS clients of W1's size, 1,000 a round, data by index: prints seconds a round."""

from __future__ import annotations

import sys
import time

import numpy as np

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples

FEATURES, CLASSES, COHORT, ROUNDS = 60, 10, 1_000, 4


class ByIndex:
    """Each client's records follow from its index; sizes lognormal with mean 60, from 10 to 400."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """The client's name."""
        return f"client-{index}"

    def examples(self, index: int) -> Examples:
        """Drawn anew whenever the client takes part."""
        draw = (Key.seed(0) / index).generator()
        size = int(np.clip(draw.lognormal(np.log(60) - 0.245, 0.7), 10, 400))
        x = draw.standard_normal((size, FEATURES), np.float32)
        return Examples(x, draw.integers(0, CLASSES, size))


def main(clients: int) -> None:
    """Run and time rounds, the first of which loads what is needed."""
    federation = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(FEATURES,), classes=CLASSES),
        algorithm=tacit.fedavg(lr=0.05, batch=10, shuffle=False),
        clients=clients,
        cohort=tacit.fixed(size=COHORT),
        rounds=ROUNDS,
    )
    ends = [time.perf_counter()]
    tacit.simulate(
        federation, ByIndex(clients), progress=lambda _: ends.append(time.perf_counter())
    )
    print(float(np.median(np.diff(ends))))


if __name__ == "__main__":
    main(int(sys.argv[1]))
