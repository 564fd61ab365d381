"""Adaptive Federated Optimization.

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, ICLR 2021, Algorithm 2, FedAdam:
clients run SGD as in FedAvg, the coordinator takes an Adam step along the mean update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import Aggregate, Algorithm, State, Steps
from tacit.learn.fedavg import check_local_steps, moved, offer, positive, visit_by


@final
@dataclass(frozen=True)
class FedAdam:
    """Settings of FedAdam; see `fedadam`."""

    kind: ClassVar[str] = "fedadam"

    lr: float
    server_lr: float = 0.01
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    shuffle: bool = True

    source = "Reddi et al. 2021, Algorithm 2 (FedAdam)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        positive("server_lr", self.server_lr)
        positive("tau", self.tau)

    def build(self) -> Algorithm:
        """The pure functions."""
        local = Steps(self.lr, self.batch, self.epochs, self.steps, shuffle=self.shuffle)
        return Algorithm(self._start, offer, visit_by(local), self._apply)

    def _start(self, params: Vector) -> State:
        return {"params": params, "m": 0.0, "v": self.tau**2}

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        change = found.mean[: layout.trained]
        m = self.beta1 * state["m"] + (1 - self.beta1) * change
        v = self.beta2 * state["v"] + (1 - self.beta2) * change**2
        step = self.server_lr * m / (np.sqrt(v) + self.tau)
        return {"params": moved(state["params"], step, found, layout), "m": m, "v": v}


def fedadam(
    lr: float,
    server_lr: float = 0.01,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    shuffle: bool = True,
) -> FedAdam:
    """FedAvg's clients, Adam at the coordinator; `tau` is the paper's degree of adaptivity."""
    return FedAdam(lr, server_lr, epochs, batch, steps, beta1, beta2, tau, shuffle)
