"""SCAFFOLD: Stochastic Controlled Averaging for Federated Learning.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, ICML 2020, Algorithm 1 with option II. Each client
corrects its gradients by c - c_i, so many local steps no longer drift to its own optimum.

Only the update travels. By option II a client's new control variate is
c_i+ = c_i - c - dy_i / (K lr) for its update dy_i and public K and lr, so the mean change of the
controls is -c - mean(dy) / (K lr): it follows from the mean update that is sent anyway.
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
    Need,
    Offer,
    State,
    Steps,
)
from tacit.learn.descent import arranged, descending, lr_in, refuse_descent
from tacit.learn.fedavg import change, check_local_steps, moved
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.settings import positive

WHY_SGD = (
    "its control variates are the changes of models divided by K lr, which is a mean "
    "gradient only after K plain steps of one size"
)
"""Why it needs plain SGD, in one clause."""


@final
@dataclass(frozen=True)
class Scaffold:
    """Settings of SCAFFOLD; see `scaffold`."""

    kind: ClassVar[str] = "scaffold"

    lr: float
    steps: int
    batch: int = 32
    server_lr: float = 1.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Karimireddy et al. 2020, Algorithm 1, option II (SCAFFOLD)"

    def __post_init__(self) -> None:
        refuse_descent("scaffold", WHY_SGD, self.optimiser, self.schedule)
        check_local_steps(self.lr, 1, self.batch, self.steps)
        if not self.steps:
            rule = "a whole number from 1"
            raise TacitError("task.setting", name="steps", value=self.steps, rule=rule)
        positive("server_lr", self.server_lr)

    def build(self) -> Algorithm:
        """The pure functions; memory is the client's control variate (trained,)."""
        needs = frozenset({Need.MEMORY})
        algorithm = Algorithm(_start, _offer, self._visit, self._apply, needs=needs)
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr, self.batch, steps=self.steps, shuffle=self.shuffle, schedule=self.schedule
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before, control = received["params"], received["control"][..., : home.trained]
        own = np.zeros_like(control) if memory is None else memory
        local = arranged(self._local, received)
        correction = control - own
        after = home.train(before, local, lambda gradient, _: gradient + correction)
        update = change(before, after.params, home)
        descent = update[..., : home.trained] / (self.steps * local.lr)
        return Contribution(update, 1.0, after.loss), own - control - descent

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        mean = found.mean[: layout.trained]
        control = state["control"].copy()
        lr = lr_in(self._local, state.get("round", 0))
        shift = -control[: layout.trained] - mean / (self.steps * lr)
        control[: layout.trained] += found.share * shift
        params = moved(state["params"], self.server_lr * mean, found, layout)
        return {"params": params, "control": control}


def scaffold(
    lr: float,
    steps: int,
    batch: int = 32,
    server_lr: float = 1.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> Scaffold:
    """Averaging with control variates; every client takes exactly `steps` minibatch steps.

    A `schedule` may go over rounds (in buffered ones the coordinator takes its own round's rate for
    all answers); one over steps, or an `optimiser`, is refused (see `WHY_SGD`).
    """
    return Scaffold(lr, steps, batch, server_lr, shuffle, optimiser, schedule)


def _start(params: Vector) -> State:
    return {"params": params, "control": np.zeros_like(params)}


def _offer(state: State) -> Offer:
    """The model and the mean control variate."""
    return {"params": state["params"], "control": state["control"]}
