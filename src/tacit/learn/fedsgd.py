"""FedSGD: one gradient a client, one step a round.

McMahan et al. 2017, section 2 (FederatedSGD). It is the algorithm of record-level privacy: a
visit computes one gradient at the offered model, so a client's answer is a sum over its records
and per-example clipping bounds what each record can change (Abadi et al. 2016, Algorithm 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from tacit.base.errors import TacitError
from tacit.base.vector import Layout
from tacit.learn.algorithm import Aggregate, Algorithm, Contribution, Local, Offer, State
from tacit.learn.fedavg import moved, offer, positive, start


@final
@dataclass(frozen=True)
class FedSGD:
    """Settings of FedSGD; see `fedsgd`."""

    kind: ClassVar[str] = "fedsgd"

    lr: float
    momentum: float = 0.0

    source = "McMahan et al. 2017, section 2 (FedSGD)"

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        if not 0 <= self.momentum < 1:
            raise TacitError("task.setting", name="momentum", value=self.momentum, rule="in [0, 1)")

    def build(self) -> Algorithm:
        """The pure functions."""
        return Algorithm(start, offer, visit, self._apply, one_step=True)

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        velocity = self.momentum * state["velocity"] + found.mean[: layout.trained]
        params = moved(state["params"], self.lr * velocity, found, layout)
        return {"params": params, "velocity": velocity}


def fedsgd(lr: float, momentum: float = 0.0) -> FedSGD:
    """One gradient step a round with learning rate `lr` and heavy-ball `momentum`."""
    return FedSGD(lr, momentum)


def visit(received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
    """Answer the descent direction: minus the gradient at the offered model."""
    found = home.gradient(received["params"])
    update = found.update
    update[..., : home.trained] *= -1.0
    return found._replace(update=update), memory
