"""Communication-Efficient Learning of Deep Networks from Decentralized Data.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017, Algorithm 1 (FedAvg); the server
momentum is FedAvgM of Hsu, Qi, Brown 2019, "Measuring the Effects of Non-Identical Data
Distribution", section 4. With `momentum=0` and `server_lr=1` this is plain FedAvg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Layout, Vector
from tacit.learn.algorithm import (
    Aggregate,
    Algorithm,
    Contribution,
    Local,
    Offer,
    State,
    Steps,
)


@final
@dataclass(frozen=True)
class FedAvg:
    """Settings of FedAvg; see `fedavg`."""

    kind: ClassVar[str] = "fedavg"

    lr: float
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    server_lr: float = 1.0
    momentum: float = 0.0
    shuffle: bool = True

    source = "McMahan et al. 2017, Algorithm 1; Hsu et al. 2019, section 4 (server momentum)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        positive("server_lr", self.server_lr)

    def build(self) -> Algorithm:
        """The pure functions."""
        local = Steps(
            self.lr, self.batch, self.epochs, self.steps, self.local_momentum, self.shuffle
        )
        return Algorithm(start, offer, visit_by(local), self._apply)

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        velocity = self.momentum * state["velocity"] + found.mean[: layout.trained]
        params = moved(state["params"], self.server_lr * velocity, found, layout)
        return {"params": params, "velocity": velocity}


def fedavg(
    lr: float,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    server_lr: float = 1.0,
    momentum: float = 0.0,
    shuffle: bool = True,
) -> FedAvg:
    """Federated averaging.

    `lr`, `epochs` (or exactly `steps` minibatch steps), `batch` (0: all records) and
    `local_momentum` rule the client's SGD; `server_lr` and `momentum` the coordinator's step
    (FedAvgM).
    """
    return FedAvg(lr, epochs, batch, steps, local_momentum, server_lr, momentum, shuffle)


def start(params: Vector) -> State:
    """The initial state: the model, and no velocity yet."""
    return {"params": params, "velocity": 0.0}


def start_plain(params: Vector) -> State:
    """The initial state of an algorithm that keeps nothing but the model."""
    return {"params": params}


def offer(state: State) -> Offer:
    """Clients receive the model."""
    return {"params": state["params"]}


def moved(params: Vector, step: Vector, found: Aggregate, layout: Layout) -> Vector:
    """The model after the coordinator's step; buffers are averaged and bypass the optimiser."""
    after = params.copy()
    after[: layout.trained] += step
    after[layout.trained :] = found.mean[layout.trained :]
    return after


def visit_by(local: Steps) -> Any:
    """A visit that trains locally and answers the change of the model (buffers: their values)."""

    def visit(received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        after = home.train(before, local)
        return Contribution(change(before, after.params, home), 1.0, after.loss), memory

    return visit


def change(before: Vector, after: Vector, home: Local) -> Vector:
    """What is sent: after - before on trained coordinates, the buffers themselves."""
    update = after - before
    update[..., home.trained :] = after[..., home.trained :]
    return update


def check_local_steps(lr: float, epochs: int, batch: int, steps: int) -> None:
    """Refuse local settings that mean nothing."""
    positive("lr", lr)
    for name, value, least in (("epochs", epochs, 1), ("batch", batch, 0), ("steps", steps, 0)):
        if value < least:
            raise TacitError(
                "task.setting", name=name, value=value, rule=f"a whole number from {least}"
            )


def positive(name: str, value: float) -> None:
    """Refuse a setting that is not a positive, finite number."""
    if not (np.isfinite(value) and value > 0):
        raise TacitError("task.setting", name=name, value=value, rule="a positive number")


def not_negative(name: str, value: float) -> None:
    """Refuse a setting that is negative or not finite."""
    if not (np.isfinite(value) and value >= 0):
        raise TacitError("task.setting", name=name, value=value, rule="zero or more")


def fraction(name: str, value: float) -> None:
    """Refuse a setting that is not in [0, 1)."""
    if not 0 <= value < 1:
        raise TacitError("task.setting", name=name, value=value, rule="in [0, 1)")
