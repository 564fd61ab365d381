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
from tacit.learn.descent import arranged, descending, kept, recalled
from tacit.learn.fedavg import change, check_local_steps, moved, offer
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import positive


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
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Acar et al. 2021, Algorithm 1 (FedDyn)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        positive("alpha", self.alpha)

    def build(self) -> Algorithm:
        """The pure functions; memory is the client's gradient g_i (trained,)."""
        needs = frozenset({Need.MEMORY})
        algorithm = Algorithm(_start, offer, self._visit, self._apply, needs=needs)
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            shuffle=self.shuffle,
            optimiser=self.optimiser,
            schedule=self.schedule,
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        anchor = before[..., : home.trained]
        held, (begun,) = recalled(self._local, memory)
        own = np.zeros_like(anchor) if held is None else held

        def rule(gradient: Vector, params: Vector) -> Vector:
            return gradient - own + self.alpha * (params - anchor)

        after = home.train(before, arranged(self._local, received, begun), rule)
        update = change(before, after.params, home)
        last = own - self.alpha * update[..., : home.trained]
        return Contribution(update, 1.0, after.loss), kept(self._local, last, after)

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
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedDyn:
    """Dynamic regularisation of weight `alpha`; clients should come close to their own minimum.

    How they get there is up to them (the paper's local step is an argmin), so any `optimiser` and
    `schedule` will do.
    """
    return FedDyn(lr, alpha, epochs, batch, steps, shuffle, optimiser, schedule)


def _start(params: Vector) -> State:
    return {"params": params, "drift": 0.0}
