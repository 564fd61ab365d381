"""Fair Resource Allocation in Federated Learning.

Li, Sanjabi, Beirami, Smith, ICLR 2020, Algorithm 2 (q-FedAvg): minimise the sum of F_k^(q+1) /
(q+1) over clients, so that clients with a large loss F_k count for more. Each sends its change
times F_k^q, and h_k, an upper bound of its curvature that stands in for the step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.vector import Block, Bound, Kind, Layout
from tacit.learn.algorithm import (
    Aggregate,
    Algorithm,
    Contribution,
    Local,
    Offer,
    State,
    Steps,
)
from tacit.learn.descent import arranged, descending, refuse_descent
from tacit.learn.fedavg import change, check_local_steps, moved, offer, start_plain
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import not_negative

SMALLEST_LOSS = 1e-10
"""Losses below this count as this, as in the authors' code: F^(q-1) must be finite."""

WHY_SGD = "it takes 1 / lr as the curvature of the loss, which belongs to plain steps of one size"
"""Why it needs plain SGD, in one clause."""


@final
@dataclass(frozen=True)
class QFFL:
    """Settings of q-FedAvg; see `qffl`."""

    kind: ClassVar[str] = "qffl"

    lr: float
    q: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    limit: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Li et al. 2020, Algorithm 2 (q-FedAvg)"

    def __post_init__(self) -> None:
        refuse_descent("qffl", WHY_SGD, self.optimiser, self.schedule)
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        not_negative("q", self.q)
        not_negative("limit", self.limit)

    def build(self) -> Algorithm:
        """The pure functions."""
        limit = self.limit or math.inf
        normaliser = Block("normaliser", 1, Kind.AVERAGE, Bound(limit, limit), limit)
        algorithm = Algorithm(start_plain, offer, self._visit, _apply, extra=(normaliser,))
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            shuffle=self.shuffle,
            schedule=self.schedule,
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, q = received["params"], self.q
        loss = np.maximum(home.loss(before), SMALLEST_LOSS)
        local = arranged(self._local, received)
        after = home.train(before, local)
        update = change(before, after.params, home)
        descent = update[..., : home.trained]
        descent /= local.lr
        square = np.einsum("...i,...i->...", descent, descent, dtype=np.float64)
        normaliser = q * loss ** (q - 1) * square + loss**q / local.lr
        descent *= np.asarray(loss**q, descent.dtype)[..., None]
        extra = {"normaliser": np.minimum(normaliser, self.limit or math.inf)[..., None]}
        return Contribution(update, 1.0, after.loss, extra), memory


def qffl(
    lr: float,
    q: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    limit: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> QFFL:
    """Fair averaging: clients with a large loss count for more, the more so the larger `q`.

    `q=0` is FedAvg. `limit` bounds the reported normaliser h_k of a client, which noise and secure
    sums need (0: no bound).

    A `schedule` may go over rounds; over steps, or an `optimiser`, is refused (see `WHY_SGD`).
    """
    return QFFL(lr, q, epochs, batch, steps, limit, shuffle, optimiser, schedule)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    """The sum of weighted changes over the sum of h_k; both are averages with the same weights."""
    total, normaliser = found.mean[: layout.trained], found.tallies["normaliser"][0]
    step = total / normaliser if normaliser > 0 else np.zeros_like(total)  # noise may win
    return {"params": moved(state["params"], step, found, layout)}
