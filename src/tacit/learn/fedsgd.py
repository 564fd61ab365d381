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
from tacit.learn.descent import counting
from tacit.learn.fedavg import moved, offer, start
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import fraction, positive


@final
@dataclass(frozen=True)
class FedSGD:
    """Settings of FedSGD; see `fedsgd`."""

    kind: ClassVar[str] = "fedsgd"

    lr: float
    momentum: float = 0.0
    schedule: AnySchedule | None = None

    source = "McMahan et al. 2017, section 2 (FedSGD)"

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        fraction("momentum", self.momentum)
        if self.schedule is not None and "steps" in self.schedule.units:
            rule = "over rounds: here are no local steps"
            value = self.schedule.kind
            raise TacitError("task.setting", name="schedule", value=value, rule=rule)

    def build(self) -> Algorithm:
        """The pure functions."""
        algorithm = Algorithm(start, offer, visit, self._apply, one_step=True)
        if self.schedule is None:
            return algorithm
        return counting(algorithm)._replace(offer=offer)  # clients take no steps of their own

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        velocity = self.momentum * state["velocity"] + found.mean[: layout.trained]
        lr = self.lr * (1.0 if self.schedule is None else self.schedule.at(state["round"], 0, 1))
        params = moved(state["params"], lr * velocity, found, layout)
        return {"params": params, "velocity": velocity if self.momentum else 0.0}


def fedsgd(lr: float, momentum: float = 0.0, schedule: AnySchedule | None = None) -> FedSGD:
    """One gradient step a round with learning rate `lr` and heavy-ball `momentum`.

    The step is the coordinator's, and so is its `schedule` (over rounds).
    """
    return FedSGD(lr, momentum, schedule)


def visit(received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
    """Answer the descent direction: minus the gradient at the offered model."""
    found = home.gradient(received["params"])
    update = found.update
    update[..., : home.trained] *= -1.0
    return found._replace(update=update), memory
