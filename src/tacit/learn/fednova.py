"""Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization.

Wang, Liu, Liang, Joshi, Poor, NeurIPS 2020, section 4 (FedNova). Where clients take unequal
numbers of steps, FedAvg minimises a mean in which busy clients count for more. FedNova averages
updates divided by |a_i|_1, the gradients that each holds (its steps, without momentum), and
multiplies the mean by the average of |a_i|_1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
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
from tacit.learn.settings import fraction

WHY_SGD = (
    "it divides by |a_i|_1, the gradients that an update holds, which is known for "
    "SGD with one learning rate"
)
"""Why it needs plain SGD, in one clause."""


@final
@dataclass(frozen=True)
class FedNova:
    """Settings of FedNova; see `fednova`."""

    kind: ClassVar[str] = "fednova"

    lr: float
    epochs: int = 1
    batch: int = 32
    local_momentum: float = 0.0
    most: int = 0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Wang et al. 2020, section 4 (FedNova), a_i of SGD with momentum"

    def __post_init__(self) -> None:
        refuse_descent("fednova", WHY_SGD, self.optimiser, self.schedule)
        check_local_steps(self.lr, self.epochs, self.batch, 0)
        fraction("local_momentum", self.local_momentum)
        if self.most < 0:
            rule = "a whole number from 0"
            raise TacitError("task.setting", name="most", value=self.most, rule=rule)

    def build(self) -> Algorithm:
        """The pure functions."""
        limit = self._limit
        held = Block("steps", 1, Kind.AVERAGE, Bound(limit, limit), limit)
        algorithm = Algorithm(start_plain, offer, self._visit, _apply, extra=(held,))
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            momentum=self.local_momentum,
            shuffle=self.shuffle,
            schedule=self.schedule,
        )

    @property
    def _limit(self) -> float:
        return float(gradients(self.most, self.local_momentum)) if self.most else math.inf

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, momentum = received["params"], self.local_momentum
        after = home.train(before, arranged(self._local, received))
        held = gradients(after.steps, momentum)
        update = change(before, after.params, home)
        update[..., : home.trained] /= held[..., None]
        extra = {"steps": np.minimum(held, self._limit)[..., None]}
        return Contribution(update, 1.0, after.loss, extra), memory


def fednova(
    lr: float,
    epochs: int = 1,
    batch: int = 32,
    local_momentum: float = 0.0,
    most: int = 0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedNova:
    """Normalised averaging for clients that take unequal numbers of steps.

    `most` bounds the reported steps of a client, which noise and secure sums need (0: no bound).

    A `schedule` may go over rounds; over steps, or an `optimiser`, is refused (see `WHY_SGD`).
    """
    return FedNova(lr, epochs, batch, local_momentum, most, shuffle, optimiser, schedule)


def gradients(steps: Any, momentum: float) -> Any:
    """|a|_1: the gradients, by weight, that `steps` of SGD with `momentum` add up (...,)."""
    count = np.asarray(steps, np.float64)
    return (count - momentum * (1 - momentum**count) / (1 - momentum)) / (1 - momentum)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    step = found.tallies["steps"][0] * found.mean[: layout.trained]
    return {"params": moved(state["params"], step, found, layout)}
