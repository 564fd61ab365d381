"""FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.

Li, Jiang, Zhang, Kamp, Dou, ICLR 2021, Algorithm 1: FedAvg that leaves out the parameters and the
running statistics of batch normalisation, so each client scales its own features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from tacit.learn.algorithm import Algorithm, Need
from tacit.learn.fedavg import FedAvg
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.personal import NORMS
from tacit.learn.rate import AnySchedule


@final
@dataclass(frozen=True)
class FedBN:
    """Settings of FedBN; see `fedbn`."""

    kind: ClassVar[str] = "fedbn"

    lr: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Li et al. 2021 (FedBN), Algorithm 1"

    def __post_init__(self) -> None:
        self._base()

    def build(self) -> Algorithm:
        """FedAvg, of which the layout keeps batch normalisation at home."""
        needs = frozenset({Need.MEMORY})
        return self._base().build()._replace(needs=needs, personal=(NORMS,))

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


def fedbn(
    lr: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedBN:
    """FedAvg with every client's own batch normalisation; the settings are those of `fedavg`."""
    return FedBN(lr, epochs, batch, steps, local_momentum, shuffle, optimiser, schedule)
