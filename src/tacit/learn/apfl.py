"""Adaptive Personalized Federated Learning.

Deng, Kamani, Mahdavi 2020, Algorithm 1 (APFL): a client uses the mixture alpha v + (1 - alpha) w of
a vector v of its own and the common model w; v is trained through the mixture, and so is alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.algorithm import Algorithm, Contribution, Device, Local, Need, Offer, Steps
from tacit.learn.descent import arranged, descending, refuse_descent
from tacit.learn.fedavg import FedAvg, change, check_local_steps
from tacit.learn.optimiser import AnyOptimiser
from tacit.learn.rate import AnySchedule

WHY_SGD = "both of its vectors and their mixing weight follow the same plain gradient steps"
"""Why it needs plain SGD, in one clause."""


@final
@dataclass(frozen=True)
class APFL:
    """Settings of APFL; see `apfl`."""

    kind: ClassVar[str] = "apfl"

    lr: float
    alpha: float = 0.5
    adaptive: bool = True
    epochs: int = 1
    batch: int = 32
    steps: int = 0
    shuffle: bool = True
    optimiser: AnyOptimiser | None = None
    schedule: AnySchedule | None = None

    source = "Deng et al. 2020, Algorithm 1 and equation 10 (adaptive alpha)"

    def __post_init__(self) -> None:
        refuse_descent("apfl", WHY_SGD, self.optimiser, self.schedule)
        check_local_steps(self.lr, self.epochs, self.batch, self.steps)
        if not 0 <= self.alpha <= 1:
            raise TacitError("task.setting", name="alpha", value=self.alpha, rule="in [0, 1]")

    def build(self) -> Algorithm:
        """The pure functions; the memory is v with alpha behind it (dim + 1,)."""
        needs = frozenset({Need.MEMORY, Need.BATCHES})
        base = FedAvg(self.lr).build()
        base = base._replace(visit=self._visit, needs=needs, model=self._model)
        return descending(base, self._local)

    @property
    def _local(self) -> Steps:
        return Steps(
            self.lr,
            self.batch,
            self.epochs,
            self.steps,
            shuffle=self.shuffle,
            schedule=self.schedule,
        )

    def _visit(self, received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
        before = received["params"]
        common = before.copy()
        own, alpha = self._recalled(received, memory)
        trained, losses = home.trained, []
        local = arranged(self._local, received)
        for turn, gradient in enumerate(home.batches(local)):
            shared, mixed = gradient(common), gradient(mixture(common, own, alpha, trained))
            if self.adaptive and not turn:
                apart = own[..., :trained] - common[..., :trained]
                slope = (apart * mixed.trained).sum(axis=-1, keepdims=True)
                alpha = np.clip(alpha - local.lr * slope, 0.0, 1.0)
            common[..., :trained] -= local.lr * shared.trained
            own[..., :trained] -= local.lr * alpha * mixed.trained
            common[..., trained:], own[..., trained:] = shared.buffers, mixed.buffers
            losses.append(shared.loss)
        kept = np.concatenate([own, alpha.astype(own.dtype)], axis=-1)
        return Contribution(change(before, common, home), 1.0, np.mean(losses, axis=0)), kept

    def _model(self, received: Offer, memory: Any, home: Device) -> Vector:
        own, alpha = self._recalled(received, memory)
        return mixture(received["params"], own, alpha, home.trained)

    def _recalled(self, received: Offer, memory: Any) -> tuple[Vector, Vector]:
        """v (..., dim) and alpha (..., 1); at first the common model and the setting."""
        if memory is None:
            common = received["params"]
            return common.copy(), np.full((*common.shape[:-1], 1), self.alpha)
        return memory[..., :-1].copy(), memory[..., -1:]


def apfl(
    lr: float,
    alpha: float = 0.5,
    adaptive: bool = True,
    epochs: int = 1,
    batch: int = 32,
    steps: int = 0,
    shuffle: bool = True,
    optimiser: AnyOptimiser | None = None,
    schedule: AnySchedule | None = None,
) -> APFL:
    """FedAvg, and each client's own mixture with it.

    `alpha` is the client's own share at first: 0 keeps to the common model, 1 trains alone;
    `adaptive` lets every client move its alpha once a round by a gradient step.

    A `schedule` may go over rounds; over steps, or an `optimiser`, is refused (see `WHY_SGD`).
    """
    return APFL(lr, alpha, adaptive, epochs, batch, steps, shuffle, optimiser, schedule)


def mixture(common: Vector, own: Vector, alpha: Vector, trained: int) -> Vector:
    """alpha own + (1 - alpha) common of trained coordinates; buffers are the client's own."""
    mixed = own.copy()
    mixed[..., :trained] = alpha * own[..., :trained] + (1 - alpha) * common[..., :trained]
    return mixed
