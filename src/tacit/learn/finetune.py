"""Federated Evaluation of On-device Personalization.

Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage 2019, sections 2 and 3: a model is learned by
FedAvg; each client then trains it further on its own records, and uses the result only if it is
better on records that were held out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Device, Offer, Steps
from tacit.learn.fedavg import FedAvg
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import positive


@final
@dataclass(frozen=True)
class FineTune:
    """Settings of per-client fine-tuning; see `finetune`."""

    kind: ClassVar[str] = "finetune"

    lr: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    own_lr: float = 0.0
    own_epochs: int = 5
    held_out: float = 0.2
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Wang et al. 2019, sections 2 and 3"

    def __post_init__(self) -> None:
        self._base()
        if self.own_lr:
            positive("own_lr", self.own_lr)
        if self.own_epochs < 1:
            rule = "a whole number from 1"
            raise TacitError("task.setting", name="own_epochs", value=self.own_epochs, rule=rule)
        if not 0 < self.held_out < 1:
            raise TacitError(
                "task.setting", name="held_out", value=self.held_out, rule="between 0 and 1"
            )

    def build(self) -> Algorithm:
        """FedAvg, and the client's own model made from what it learned."""
        return self._base().build()._replace(model=self._model)

    def _base(self) -> FedAvg:
        return FedAvg(
            self.lr,
            self.epochs,
            self.batch,
            self.steps,
            self.local_momentum,
            shuffle=self.shuffle,
            optimiser=self.optimiser,
            schedule=self.schedule,
        )

    def _model(self, received: Offer, memory: Any, home: Device) -> Vector:
        """Find the number of passes that held-out records like best, then train on all records."""
        common = received["params"]
        if home.examples < 2:
            return common
        fit, check = home.held_out(self.held_out)
        model, losses = common, [check.evaluate(common).mean_loss]
        one = Steps(
            self.own_lr or self.lr, self.batch, shuffle=self.shuffle, optimiser=self.optimiser
        )
        moments = None
        for _ in range(self.own_epochs):
            trained = fit.train(model, replace(one, begun=moments))
            model, moments = trained.params, trained.moments
            losses.append(check.evaluate(model).mean_loss)
        passes = int(np.argmin(losses))
        return home.train(common, replace(one, epochs=passes)).params if passes else common


def finetune(  # noqa: PLR0913  # one argument a setting
    lr: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    own_lr: float = 0.0,
    own_epochs: int = 5,
    held_out: float = 0.2,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FineTune:
    """FedAvg, then each client's own passes over its records, as many as prove useful.

    Up to `own_epochs` passes at `own_lr` (0: as `lr`); the best number of passes, none included,
    is found on `held_out` of the client's records. Nothing of it leaves the client. The other
    settings are those of `fedavg`; an `optimiser` serves both, always fresh for the client's own
    passes, and a `schedule` the rounds alone.
    """
    return FineTune(
        lr,
        epochs,
        batch,
        steps,
        own_lr,
        own_epochs,
        held_out,
        local_momentum,
        shuffle,
        optimiser,
        schedule,
    )
