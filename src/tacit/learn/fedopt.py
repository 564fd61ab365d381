"""Adaptive Federated Optimization: FedAdagrad, FedAdam and FedYogi.

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, ICLR 2021, Algorithm 2: clients
run SGD as in FedAvg, the coordinator takes an adaptive step along the mean update. The three
differ in one line, how the second moment follows the squared update. `optimiser` and `schedule` are
the clients', as in FedAvg; the settings of the coordinator's step have their own names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import Aggregate, Algorithm, State, Steps
from tacit.learn.descent import descending
from tacit.learn.fedavg import check_local_steps, moved, offer, visit_by
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import fraction, positive

Second = Callable[[Vector, Vector], Vector]
"""The new second moment from the old one and the squared update."""


@final
@dataclass(frozen=True)
class FedAdagrad:
    """Settings of FedAdagrad; see `fedadagrad`."""

    kind: ClassVar[str] = "fedadagrad"

    lr: float
    server_lr: float = 0.01
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    beta1: float = 0.0
    tau: float = 1e-3
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Reddi et al. 2021, Algorithm 2 (FedAdagrad)"

    def __post_init__(self) -> None:
        _check(self)

    def build(self) -> Algorithm:
        """The pure functions."""
        return _adaptive(self, lambda v, square: v + square)


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
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Reddi et al. 2021, Algorithm 2 (FedAdam)"

    def __post_init__(self) -> None:
        _check(self)
        fraction("beta2", self.beta2)

    def build(self) -> Algorithm:
        """The pure functions."""
        return _adaptive(self, lambda v, square: self.beta2 * v + (1 - self.beta2) * square)


@final
@dataclass(frozen=True)
class FedYogi:
    """Settings of FedYogi; see `fedyogi`."""

    kind: ClassVar[str] = "fedyogi"

    lr: float
    server_lr: float = 0.01
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Reddi et al. 2021, Algorithm 2 (FedYogi)"

    def __post_init__(self) -> None:
        _check(self)
        fraction("beta2", self.beta2)

    def build(self) -> Algorithm:
        """The pure functions."""
        return _adaptive(
            self, lambda v, square: v - (1 - self.beta2) * square * np.sign(v - square)
        )


def fedadagrad(
    lr: float,
    server_lr: float = 0.01,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    beta1: float = 0.0,
    tau: float = 1e-3,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedAdagrad:
    """FedAvg's clients, Adagrad at the coordinator; `tau` is the paper's degree of adaptivity."""
    return FedAdagrad(lr, server_lr, epochs, batch, steps, beta1, tau, shuffle, optimiser, schedule)


def fedadam(  # noqa: PLR0913  # one argument a setting
    lr: float,
    server_lr: float = 0.01,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedAdam:
    """FedAvg's clients, Adam at the coordinator; `tau` is the paper's degree of adaptivity."""
    return FedAdam(
        lr, server_lr, epochs, batch, steps, beta1, beta2, tau, shuffle, optimiser, schedule
    )


def fedyogi(  # noqa: PLR0913  # one argument a setting
    lr: float,
    server_lr: float = 0.01,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> FedYogi:
    """FedAvg's clients, Yogi at the coordinator; `tau` is the paper's degree of adaptivity."""
    return FedYogi(
        lr, server_lr, epochs, batch, steps, beta1, beta2, tau, shuffle, optimiser, schedule
    )


def _adaptive(spec: FedAdagrad | FedAdam | FedYogi, second: Second) -> Algorithm:
    """Algorithm 2 with one rule for the second moment; no bias correction, as in the paper."""

    def start(params: Vector) -> State:
        return {"params": params, "m": 0.0, "v": spec.tau**2}

    def apply(state: State, found: Aggregate, layout: Layout) -> State:
        change = found.mean[: layout.trained]
        m = spec.beta1 * state["m"] + (1 - spec.beta1) * change
        v = second(state["v"], change**2)
        step = spec.server_lr * m / (np.sqrt(v) + spec.tau)
        return {"params": moved(state["params"], step, found, layout), "m": m, "v": v}

    local = Steps(
        spec.lr,
        spec.batch,
        spec.epochs,
        spec.steps,
        shuffle=spec.shuffle,
        optimiser=spec.optimiser,
        schedule=spec.schedule,
    )
    return descending(Algorithm(start, offer, visit_by(local), apply), local)


def _check(spec: FedAdagrad | FedAdam | FedYogi) -> None:
    check_local_steps(spec.lr, spec.epochs, spec.batch, spec.steps)
    positive("server_lr", spec.server_lr)
    positive("tau", spec.tau)
    fraction("beta1", spec.beta1)
