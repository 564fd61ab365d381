"""Ditto: Fair and Robust Federated Learning Through Personalization.

Li, Hu, Beirami, Smith, ICML 2021, Algorithm 1: beside its part in the common model, every client
trains a model of its own that is pulled towards the common one. It is memory, and never leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Contribution, Device, Local, Need, Offer, Steps
from tacit.learn.descent import arranged, descending, kept, recalled
from tacit.learn.fedavg import FedAvg, change, check_local_steps
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import not_negative


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
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Li et al. 2021 (Ditto), Algorithm 1"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_local_steps(self.lr, self.own_epochs, self.batch, self.own_steps)
        not_negative("strength", self.strength)

    def build(self) -> Algorithm:
        """The pure functions; the memory is the client's own model (dim,)."""
        needs = frozenset({Need.MEMORY})
        base = FedAvg(self.lr).build()._replace(visit=self._visit, needs=needs, model=self._model)
        return descending(base, self._local(self.epochs, self.steps))

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        common = received["params"]

        def pulled(gradient: Vector, weights: Vector) -> Vector:
            return gradient + self.strength * (weights - common[..., : home.trained])

        local = self._local(self.epochs, self.steps)
        alone = self._local(self.own_epochs, self.own_steps)
        held, (first, second) = recalled(local, memory, trainings=2)
        begin = common if held is None else held
        mine = home.train(begin, arranged(alone, received, first), pulled)
        after = home.train(common, arranged(local, received, second))
        update = change(common, after.params, home)
        return Contribution(update, 1.0, after.loss), kept(local, mine.params, mine, after)

    def _model(self, received: Offer, memory: Any, home: Device) -> Vector:
        """The client's own model; the common one before its first round."""
        held, _ = recalled(self._local(self.epochs, self.steps), memory)
        return received["params"] if held is None else held

    def _local(self, epochs: int, steps: int) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            epochs,
            steps,
            shuffle=self.shuffle,
            optimiser=self.optimiser,
            schedule=self.schedule,
        )


def ditto(
    lr: float,
    strength: float = 0.1,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    own_epochs: int = 1,
    own_steps: int = 0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> Ditto:
    """A common model by FedAvg, and each client's own beside it.

    `strength` is the paper's lambda: 0 trains alone, large values keep to the common model.
    `own_epochs` (or exactly `own_steps`) train the client's own; the rest is as in `fedavg`. Both
    models follow `optimiser` and `schedule`, each with a state of its own.
    """
    return Ditto(
        lr,
        strength,
        epochs,
        batch,
        steps,
        own_epochs,
        own_steps,
        shuffle,
        optimiser,
        schedule,
    )
