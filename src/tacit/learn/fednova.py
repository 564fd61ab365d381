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
from tacit.learn.fedavg import change, check_local_steps, fraction, moved, offer, start_plain


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

    source = "Wang et al. 2020, section 4 (FedNova), a_i of SGD with momentum"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, 0)
        fraction("local_momentum", self.local_momentum)
        if self.most < 0:
            rule = "a whole number from 0"
            raise TacitError("task.setting", name="most", value=self.most, rule=rule)

    def build(self) -> Algorithm:
        """The pure functions."""
        limit = self._limit
        held = Block("steps", 1, Kind.AVERAGE, Bound(limit, limit), limit)
        return Algorithm(start_plain, offer, self._visit, _apply, extra=(held,))

    @property
    def _limit(self) -> float:
        return float(gradients(self.most, self.local_momentum)) if self.most else math.inf

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, momentum = received["params"], self.local_momentum
        local = Steps(self.lr, self.batch, self.epochs, 0, momentum, self.shuffle)
        after = home.train(before, local)
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
) -> FedNova:
    """Normalised averaging for clients that take unequal numbers of steps.

    `most` bounds the reported steps of a client, which noise and secure sums need (0: no bound).
    """
    return FedNova(lr, epochs, batch, local_momentum, most, shuffle)


def gradients(steps: Any, momentum: float) -> Any:
    """|a|_1: the gradients, by weight, that `steps` of SGD with `momentum` add up (...,)."""
    count = np.asarray(steps, np.float64)
    return (count - momentum * (1 - momentum**count) / (1 - momentum)) / (1 - momentum)


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    step = found.tallies["steps"][0] * found.mean[: layout.trained]
    return {"params": moved(state["params"], step, found, layout)}
