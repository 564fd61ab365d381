"""Communication-Efficient Learning of Deep Networks from Decentralized Data.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017, Algorithm 1 (FedAvg); the server
momentum is FedAvgM of Hsu, Qi, Brown 2019, "Measuring the Effects of Non-Identical Data
Distribution", section 4. With `momentum=0` and `server_lr=1` this is plain FedAvg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

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
from tacit.learn.descent import arranged, check_descent, descending, kept, recalled
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import positive, whole


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
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "McMahan et al. 2017, Algorithm 1; Hsu et al. 2019, section 4 (server momentum)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_descent(self.local_momentum, self.optimiser)
        positive("server_lr", self.server_lr)

    def build(self) -> Algorithm:
        """The pure functions."""
        local = Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            self.local_momentum,
            self.shuffle,
            self.optimiser,
            self.schedule,
        )
        return descending(Algorithm(start, offer, visit_by(local), self._apply), local)

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        velocity = found.mean[: layout.trained]
        if self.momentum:
            velocity = self.momentum * state["velocity"] + velocity
        step = velocity if self.server_lr == 1.0 else self.server_lr * velocity
        params = moved(state["params"], step, found, layout)
        return {"params": params, "velocity": velocity if self.momentum else 0.0}


def fedavg(
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
) -> FedAvg:
    """Federated averaging.

    `lr`, `epochs` (or exactly `steps` minibatch steps), `batch` (0: all records) and
    `local_momentum` rule the client's SGD; `server_lr` and `momentum` the coordinator's step
    (FedAvgM). `optimiser` takes the place of the client's SGD (`tacit.adam()`, ...), `schedule`
    multiplies its learning rate (`tacit.cosine(...)`, ...).
    """
    return FedAvg(
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
        own, (begun,) = recalled(local, memory)
        after = home.train(before, arranged(local, received, begun))
        update = change(before, after.params, home, spare=True)
        return Contribution(update, 1.0, after.loss), kept(local, own, after)

    return visit


def change(before: Vector, after: Vector, home: Local, *, spare: bool = False) -> Vector:
    """What is sent: after - before on trained coordinates, the buffers themselves.

    With `spare` the memory of `after` is taken for it.
    """
    update = after if spare else after.copy()
    update[..., : home.trained] -= before[..., : home.trained]
    return update


def check_local_steps(lr: float, epochs: int, batch: int, steps: int) -> None:
    """Refuse local settings that mean nothing."""
    positive("lr", lr)
    for name, value, least in (("epochs", epochs, 1), ("batch", batch, 0), ("steps", steps, 0)):
        whole(name, value, least)
