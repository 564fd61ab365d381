"""Federated Learning with Personalization Layers.

Arivazhagan, Aggarwal, Singh, Choudhary 2019, Algorithms 1 and 2 (FedPer): every client trains base
and personal layers together by SGD; the base layers are averaged, the personal ones never leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from tacit.learn.algorithm import Algorithm, Need
from tacit.learn.fedavg import FedAvg
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.personal import check_patterns
from tacit.learn.rate import AnySchedule


@final
@dataclass(frozen=True)
class FedPer:
    """Settings of FedPer; see `fedper`."""

    kind: ClassVar[str] = "fedper"

    lr: float
    personal: tuple[str, ...]
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Arivazhagan et al. 2019, Algorithms 1 and 2"

    def __post_init__(self) -> None:
        check_patterns(self.personal)
        self._base()

    def build(self) -> Algorithm:
        """FedAvg, of which the layout keeps the personal layers at home."""
        needs = frozenset({Need.MEMORY})
        return self._base().build()._replace(needs=needs, personal=self.personal)

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


def fedper(
    lr: float,
    personal: tuple[str, ...] | str,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedPer:
    """FedAvg of the base layers; `personal` names the tensors that stay at home ("head.*").

    The other settings are those of `fedavg`.
    """
    return FedPer(
        lr,
        as_patterns(personal),
        epochs,
        batch,
        steps,
        local_momentum,
        shuffle,
        optimiser,
        schedule,
    )


def as_patterns(personal: tuple[str, ...] | str) -> tuple[str, ...]:
    """One pattern, or several."""
    return (personal,) if isinstance(personal, str) else tuple(personal)
