"""Model-Contrastive Federated Learning.

Li, He, Song, CVPR 2021, Algorithm 1 (MOON): clients add to their loss
mu * -log(e^(cos(z, z_offered)/tau) / (e^(cos(z, z_offered)/tau) + e^(cos(z, z_previous)/tau))),
which draws what their model makes of a record towards the offered model's view of it, and away
from that of their own model of last time. It needs a task whose model has a representation (see
`tacit.learn.represent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.vector import Layout
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
from tacit.learn.descent import arranged, check_descent, descending, kept, recalled
from tacit.learn.fedavg import change, check_local_steps, moved, offer, start_plain
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule
from tacit.learn.represent import Contrasting
from tacit.learn.settings import not_negative, positive

Array = npt.NDArray[Any]

SMALLEST = 1e-8
"""Shorter representations count as this long, so that cosines are finite."""


@final
@dataclass(frozen=True)
class Moon:
    """Settings of MOON; see `moon`."""

    kind: ClassVar[str] = "moon"

    lr: float
    mu: float = 1.0
    temperature: float = 0.5
    layer: str = ""
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    local_momentum: float = 0.0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Li, He, Song 2021, Algorithm 1 (MOON)"

    def __post_init__(self) -> None:
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        check_descent(self.local_momentum, self.optimiser)
        not_negative("mu", self.mu)
        positive("temperature", self.temperature)

    def build(self) -> Algorithm:
        """The pure functions; memory is the client's last model (dim,)."""
        needs = frozenset({Need.MEMORY, Need.REPRESENTATION})
        algorithm = Algorithm(start_plain, offer, self._visit, _apply, needs=needs)
        return descending(algorithm, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            self.local_momentum,
            self.shuffle,
            self.optimiser,
            self.schedule,
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        if not isinstance(home, Contrasting):
            raise TacitError("task.no-representation", task="block of clients")
        before = received["params"]
        held, (begun,) = recalled(self._local, memory)
        previous = before if held is None else held
        local = arranged(self._local, received, begun)
        after = home.train_pulled(before, local, self.layer, (before, previous), self._pull)
        update = change(before, after.params, home)
        return Contribution(update, 1.0, after.loss), kept(local, after.params, after)

    def _pull(self, z: Array, others: Sequence[Array]) -> tuple[Array, Array]:
        """mu * log(1 + e^((cos(z, previous) - cos(z, offered)) / tau)), and its derivative."""
        near, to_near = cosine(z, others[0])
        far, to_far = cosine(z, others[1])
        gap = (far - near) / self.temperature
        slope = self.mu / self.temperature * 0.5 * (1.0 + np.tanh(0.5 * gap))
        return self.mu * np.logaddexp(0.0, gap), slope[:, None] * (to_far - to_near)


def moon(  # noqa: PLR0913  # one argument a setting
    lr: float,
    mu: float = 1.0,
    temperature: float = 0.5,
    layer: str = "",
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    local_momentum: float = 0.0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> Moon:
    """Averaging with a contrastive loss of weight `mu` on the representation.

    `layer` names the module whose output is the representation (torch); empty: what the last
    layer receives.
    """
    return Moon(
        lr,
        mu,
        temperature,
        layer,
        epochs,
        batch,
        steps,
        local_momentum,
        shuffle,
        optimiser,
        schedule,
    )


def cosine(a: Array, b: Array) -> tuple[Array, Array]:
    """Cosine of each pair of rows (n,), and its derivative by `a` (n, r)."""
    size = np.maximum(np.linalg.norm(a, axis=1, keepdims=True), SMALLEST)
    a, b = a / size, b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), SMALLEST)
    across = (a * b).sum(axis=1)
    return across, (b - across[:, None] * a) / size


def _apply(state: State, found: Aggregate, layout: Layout) -> State:
    return {"params": moved(state["params"], found.mean[: layout.trained], found, layout)}
