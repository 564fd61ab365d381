"""Federated Learning with Buffered Asynchronous Aggregation.

Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, AISTATS 2022, Algorithm 1 (FedBuff). A client
that was asked with model w^t answers D = w_Q - w^t after its local steps. Whenever K answers have
arrived, the coordinator steps

    w  <-  w + server_lr * (1/K) * sum_i s(t - t_i) D_i,      s(tau) = (1 + tau)^(-1/2)

where t - t_i is by how many models answer i is behind. The buffer and the weights s belong to the
round (`tacit.buffered`), the two steps below to the algorithm; other algorithms run in buffered
rounds as well, and FedBuff in synchronous ones is FedAvg. The paper's coordinator has momentum in
its experiments (section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from tacit.learn.algorithm import Algorithm, Need
from tacit.learn.fedavg import FedAvg
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule


@final
@dataclass(frozen=True)
class FedBuff:
    """Settings of FedBuff; see `fedbuff`."""

    kind: ClassVar[str] = "fedbuff"

    lr: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    server_lr: float = 1.0
    momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Nguyen et al. 2022, Algorithm 1"

    def __post_init__(self) -> None:
        self._steps()

    def build(self) -> Algorithm:
        """FedAvg's two steps; the rest is the round's."""
        base = self._steps().build()
        return base._replace(needs=base.needs | {Need.STALENESS})

    def _steps(self) -> FedAvg:
        return FedAvg(
            self.lr,
            self.epochs,
            self.batch,
            self.steps,
            self.local_momentum,
            self.server_lr,
            self.momentum,
            self.shuffle,
            self.optimiser,
            self.schedule,
        )


def fedbuff(
    lr: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    server_lr: float = 1.0,
    momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedBuff:
    """FedBuff, for `cohort=tacit.buffered(...)`. The settings are those of `fedavg`."""
    return FedBuff(
        lr,
        epochs,
        batch,
        steps,
        local_momentum,
        server_lr,
        momentum,
        shuffle,
        optimiser,
        schedule,
    )
