"""Exact evaluation on clients and pooled: possible in a simulation only, and labelled so."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tacit.base.vector import Vector
from tacit.learn.examples import Clients
from tacit.learn.task import Tallies, Task


class Evaluation(NamedTuple):
    """Exact numbers over clients: by name, pooled, and how they spread.

    `worst` is the lowest accuracy of a client and `spread` the standard deviation over clients.
    """

    clients: dict[str, Tallies]
    pooled: Tallies
    worst: float
    spread: float

    @property
    def accuracy(self) -> float:
        """Accuracy on all examples together."""
        return self.pooled.accuracy

    @property
    def loss(self) -> float:
        """Mean loss on all examples together."""
        return self.pooled.mean_loss


def evaluate(task: Task, model: Callable[[int], Vector], clients: Clients) -> Evaluation:
    """Evaluate on every client's examples the model that `model` has for the client's index."""
    each = {
        clients.name(i): task.evaluate(model(i), clients.examples(i)) for i in range(len(clients))
    }
    sums = np.array(list(each.values())).sum(axis=0)
    scores = np.array([one.accuracy for one in each.values() if one.examples])
    worst = float(scores.min()) if scores.size else float("nan")
    spread = float(scores.std()) if scores.size else float("nan")
    return Evaluation(each, Tallies(*(float(v) for v in sums)), worst, spread)
