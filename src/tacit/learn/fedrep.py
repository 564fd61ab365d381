"""Exploiting Shared Representations for Personalized Federated Learning.

Collins, Hassani, Mokhtari, Shakkottai, ICML 2021, Algorithm 1 (FedRep): a client first fits its own
head to the representation that it received, then takes a few steps on the representation alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Contribution, Local, Need, Offer, Steps
from tacit.learn.fedavg import FedAvg, change, check_local_steps
from tacit.learn.fedper import as_patterns
from tacit.learn.personal import check_patterns


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

    source = "Collins et al. 2021, Algorithm 1"

    def __post_init__(self) -> None:
        check_patterns(self.personal)
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_local_steps(self.lr, self.head_epochs, self.batch, self.head_steps)

    def build(self) -> Algorithm:
        """The pure functions."""
        base = FedAvg(self.lr).build()
        needs = frozenset({Need.MEMORY})
        return base._replace(visit=self._visit, needs=needs, personal=self.personal)

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        def head(gradient: Vector, weights: Vector) -> Vector:
            return gradient * home.personal

        def body(gradient: Vector, weights: Vector) -> Vector:
            return gradient * ~home.personal

        before = received["params"]
        fitted = home.train(before, self._local(self.head_epochs, self.head_steps), head)
        after = home.train(fitted.params, self._local(self.epochs, self.steps), body)
        return Contribution(change(before, after.params, home), 1.0, after.loss), memory

    def _local(self, epochs: int, steps: int) -> Steps:
        return Steps(self.lr, self.batch, epochs, steps, self.local_momentum, self.shuffle)


def fedrep(
    lr: float,
    personal: tuple[str, ...] | str,
    head_epochs: int = 1,
    epochs: int = 1,
    batch: int = 32,
    head_steps: int = 0,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
) -> FedRep:
    """Heads at home, a representation in common; `personal` names the tensors of the head.

    `head_epochs` passes (or exactly `head_steps` minibatch steps) fit the head, then `epochs`
    passes (or `steps`) the rest; the other settings are those of `fedavg`.
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
    )
