"""Ditto: Fair and Robust Federated Learning Through Personalization.

Li, Hu, Beirami, Smith, ICML 2021, Algorithm 1: beside its part in the common model, every client
trains a model of its own that is pulled towards the common one. It is memory, and never leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Contribution, Device, Local, Need, Offer, Steps
from tacit.learn.fedavg import FedAvg, change, check_local_steps


@final
@dataclass(frozen=True)
class Ditto:
    """Settings of Ditto; see `ditto`."""

    kind: ClassVar[str] = "ditto"

    lr: float
    strength: float = 0.1
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    own_epochs: int = 1
    own_steps: int = 0
    shuffle: bool = True

    source = "Li et al. 2021 (Ditto), Algorithm 1"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_local_steps(self.lr, self.own_epochs, self.batch, self.own_steps)
        if not (np.isfinite(self.strength) and self.strength >= 0):
            rule = "zero or more"
            raise TacitError("task.setting", name="strength", value=self.strength, rule=rule)

    def build(self) -> Algorithm:
        """The pure functions; the memory is the client's own model (dim,)."""
        needs = frozenset({Need.MEMORY})
        return FedAvg(self.lr).build()._replace(visit=self._visit, needs=needs, model=own)

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        common = received["params"]

        def pulled(gradient: Vector, weights: Vector) -> Vector:
            return gradient + self.strength * (weights - common[..., : home.trained])

        begin = own(received, memory, home)
        mine = home.train(begin, self._local(self.own_epochs, self.own_steps), pulled)
        after = home.train(common, self._local(self.epochs, self.steps))
        return Contribution(change(common, after.params, home), 1.0, after.loss), mine.params

    def _local(self, epochs: int, steps: int) -> Steps:
        return Steps(self.lr, self.batch, epochs, steps, shuffle=self.shuffle)


def ditto(
    lr: float,
    strength: float = 0.1,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    own_epochs: int = 1,
    own_steps: int = 0,
    shuffle: bool = True,
) -> Ditto:
    """A common model by FedAvg, and each client's own beside it.

    `strength` is the paper's lambda: 0 trains alone, large values keep to the common model.
    `own_epochs` (or exactly `own_steps`) train the client's own; the rest is as in `fedavg`.
    """
    return Ditto(lr, strength, epochs, batch, steps, own_epochs, own_steps, shuffle)


def own(received: Offer, memory: Any, home: Local | Device) -> Vector:
    """The client's own model; the common one before its first round."""
    return received["params"] if memory is None else memory
