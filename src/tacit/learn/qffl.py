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
from tacit.learn.fedavg import (
    change,
    check_local_steps,
    moved,
    not_negative,
    offer,
    start_plain,
)

SMALLEST_LOSS = 1e-10
"""Losses below this count as this, as in the authors' code: F^(q-1) must be finite."""


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

    source = "Li et al. 2020, Algorithm 2 (q-FedAvg)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        not_negative("q", self.q)
        not_negative("limit", self.limit)

    def build(self) -> Algorithm:
        """The pure functions."""
        limit = self.limit or math.inf
        normaliser = Block("normaliser", 1, Kind.AVERAGE, Bound(limit, limit), limit)
        return Algorithm(start_plain, offer, self._visit, _apply, extra=(normaliser,))

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, q = received["params"], self.q
        loss = np.maximum(home.loss(before), SMALLEST_LOSS)
        local = Steps(self.lr, self.batch, self.epochs, self.steps, shuffle=self.shuffle)
        after = home.train(before, local)
        update = change(before, after.params, home)
        descent = update[..., : home.trained]
        descent /= self.lr
        square = np.einsum("...i,...i->...", descent, descent, dtype=np.float64)
        normaliser = q * loss ** (q - 1) * square + loss**q / self.lr
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
) -> QFFL:
    """Fair averaging: clients with a large loss count for more, the more so the larger `q`.

    `q=0` is FedAvg. `limit` bounds the reported normaliser h_k of a client, which noise and secure
    sums need (0: no bound).
    """
    return QFFL(lr, q, epochs, batch, steps, limit, shuffle)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    """The sum of weighted changes over the sum of h_k; both are averages with the same weights."""
    total, normaliser = found.mean[: layout.trained], found.tallies["normaliser"][0]
    step = total / normaliser if normaliser > 0 else np.zeros_like(total)  # noise may win
    return {"params": moved(state["params"], step, found, layout)}
