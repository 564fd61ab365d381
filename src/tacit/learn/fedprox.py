"""Federated Optimization in Heterogeneous Networks.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, MLSys 2020, Algorithm 2 (FedProx): FedAvg whose
clients minimise their loss plus mu/2 |w - w_t|^2, so that they stay near the offered model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import (
    Aggregate,
    Algorithm,
    Contribution,
    Local,
    Offer,
    State,
    Steps,
)
from tacit.learn.descent import arranged, check_descent, descending, kept, recalled
from tacit.learn.fedavg import change, check_local_steps, moved, offer, start_plain
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import not_negative


@final
@dataclass(frozen=True)
class FedProx:
    """Settings of FedProx; see `fedprox`."""

    kind: ClassVar[str] = "fedprox"

    lr: float
    mu: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Li et al. 2020, Algorithm 2 (FedProx)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_descent(self.local_momentum, self.optimiser)
        not_negative("mu", self.mu)

    def build(self) -> Algorithm:
        """The pure functions."""
        return descending(Algorithm(start_plain, offer, self._visit, _apply), self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            self.local_momentum,
            self.shuffle,
            self.optimiser,
            self.schedule,
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        anchor = before[..., : home.trained]

        def rule(gradient: Vector, params: Vector) -> Vector:
            return gradient + self.mu * (params - anchor)

        own, (begun,) = recalled(self._local, memory)
        after = home.train(before, arranged(self._local, received, begun), rule)
        update = change(before, after.params, home)
        return Contribution(update, 1.0, after.loss), kept(self._local, own, after)


def fedprox(
    lr: float,
    mu: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedProx:
    """FedAvg with a proximal term of weight `mu` at the clients; `mu=0` is FedAvg.

    The term is part of the gradient that an `optimiser` sees.
    """
    return FedProx(lr, mu, epochs, batch, steps, local_momentum, shuffle, optimiser, schedule)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    return {"params": moved(state["params"], found.mean[: layout.trained], found, layout)}
