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
from tacit.learn.fedavg import change, check_local_steps, moved, not_negative, offer, start_plain


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

    source = "Li et al. 2020, Algorithm 2 (FedProx)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        not_negative("mu", self.mu)

    def build(self) -> Algorithm:
        """The pure functions."""
        return Algorithm(start_plain, offer, self._visit, _apply)

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        anchor = before[..., : home.trained]

        def rule(gradient: Vector, params: Vector) -> Vector:
            return gradient + self.mu * (params - anchor)

        local = Steps(
            self.lr, self.batch, self.epochs, self.steps, self.local_momentum, self.shuffle
        )
        after = home.train(before, local, rule)
        return Contribution(change(before, after.params, home), 1.0, after.loss), memory


def fedprox(
    lr: float,
    mu: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
) -> FedProx:
    """FedAvg with a proximal term of weight `mu` at the clients; `mu=0` is FedAvg."""
    return FedProx(lr, mu, epochs, batch, steps, local_momentum, shuffle)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    return {"params": moved(state["params"], found.mean[: layout.trained], found, layout)}
