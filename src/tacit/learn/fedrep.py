"""Exploiting Shared Representations for Personalized Federated Learning.

Collins, Hassani, Mokhtari, Shakkottai, ICML 2021, Algorithm 1 (FedRep): a client first fits its own
head to the representation that it received, then takes a few steps on the representation alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Contribution, Local, Need, Offer, Steps
from tacit.learn.descent import arranged, check_descent, descending, kept, recalled
from tacit.learn.fedavg import FedAvg, change, check_local_steps
from tacit.learn.fedper import as_patterns
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.personal import check_patterns
from tacit.learn.rate import AnySchedule


@final
@dataclass(frozen=True)
class FedRep:
    """Settings of FedRep; see `fedrep`."""

    kind: ClassVar[str] = "fedrep"

    lr: float
    personal: tuple[str, ...]
    head_epochs: int = 1
    epochs: int = 1
    batch: int = 32
    head_steps: int = 0
    steps: int = 0
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Collins et al. 2021, Algorithm 1"

    def __post_init__(self) -> None:
        check_patterns(self.personal)
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_local_steps(self.lr, self.head_epochs, self.batch, self.head_steps)
        check_descent(self.local_momentum, self.optimiser)

    def build(self) -> Algorithm:
        """The pure functions."""
        base = FedAvg(self.lr).build()
        needs = frozenset({Need.MEMORY})
        base = base._replace(visit=self._visit, needs=needs, personal=self.personal)
        return descending(base, self._local(self.epochs, self.steps))

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        def head(gradient: Vector, weights: Vector) -> Vector:
            return gradient * home.personal

        def body(gradient: Vector, weights: Vector) -> Vector:
            return gradient * ~home.personal

        before, stays = received["params"], home.personal
        heads = self._local(self.head_epochs, self.head_steps)
        rest = self._local(self.epochs, self.steps)
        own, (first, second) = recalled(heads, memory, trainings=2)
        heads = replace(arranged(heads, received, first), only=stays)
        fitted = home.train(before, heads, head)
        rest = replace(arranged(rest, received, second), only=~stays)
        after = home.train(fitted.params, rest, body)
        update = change(before, after.params, home)
        return Contribution(update, 1.0, after.loss), kept(rest, own, fitted, after)

    def _local(self, epochs: int, steps: int) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            epochs,
            steps,
            self.local_momentum,
            self.shuffle,
            self.optimiser,
            self.schedule,
        )


def fedrep(  # noqa: PLR0913  # one argument a setting
    lr: float,
    personal: tuple[str, ...] | str,
    head_epochs: int = 1,
    epochs: int = 1,
    batch: int = 32,
    head_steps: int = 0,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedRep:
    """Heads at home, a representation in common; `personal` names the tensors of the head.

    `head_epochs` passes (or exactly `head_steps` minibatch steps) fit the head, then `epochs`
    passes (or `steps`) the rest; the other settings are those of `fedavg`. Head and rest have each
    their own state of an `optimiser`.
    """
    return FedRep(
        lr,
        as_patterns(personal),
        head_epochs,
        epochs,
        batch,
        head_steps,
        steps,
        local_momentum,
        shuffle,
        optimiser,
        schedule,
    )
