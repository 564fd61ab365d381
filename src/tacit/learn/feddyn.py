"""Federated Learning Based on Dynamic Regularization.

Acar, Zhao, Matas, Mattina, Whatmough, Saligrama, ICLR 2021, Algorithm 1 (FedDyn). Each client
minimises its loss minus <g_i, w> plus alpha/2 |w - w_t|^2, where g_i is its own gradient at its
last model, so that the clients' optima agree with the global one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import (
    Aggregate,
    Algorithm,
    Contribution,
    Local,
    Need,
    Offer,
    State,
    Steps,
)
from tacit.learn.fedavg import change, check_local_steps, moved, offer, positive


@final
@dataclass(frozen=True)
class FedDyn:
    """Settings of FedDyn; see `feddyn`."""

    kind: ClassVar[str] = "feddyn"

    lr: float
    alpha: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    shuffle: bool = True

    source = "Acar et al. 2021, Algorithm 1 (FedDyn)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        positive("alpha", self.alpha)

    def build(self) -> Algorithm:
        """The pure functions; memory is the client's gradient g_i (trained,)."""
        return Algorithm(_start, offer, self._visit, self._apply, needs=frozenset({Need.MEMORY}))

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        anchor = before[..., : home.trained]
        own = np.zeros_like(anchor) if memory is None else memory

        def rule(gradient: Vector, params: Vector) -> Vector:
            return gradient - own + self.alpha * (params - anchor)

        local = Steps(self.lr, self.batch, self.epochs, self.steps, shuffle=self.shuffle)
        after = home.train(before, local, rule)
        update = change(before, after.params, home)
        kept = own - self.alpha * update[..., : home.trained]
        return Contribution(update, 1.0, after.loss), kept

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        mean = found.mean[: layout.trained]
        drift = state["drift"] - self.alpha * found.share * mean
        step = mean - drift / self.alpha
        return {"params": moved(state["params"], step, found, layout), "drift": drift}


def feddyn(
    lr: float,
    alpha: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    shuffle: bool = True,
) -> FedDyn:
    """Dynamic regularisation of weight `alpha`; clients should come close to their own minimum."""
    return FedDyn(lr, alpha, epochs, batch, steps, shuffle)


def _start(params: Vector) -> State:
    return {"params": params, "drift": 0.0}
