"""Optimisers of a client's local steps, as plain data with pure elementwise functions.

Each gives the numbers of its namesake in `torch.optim`, on one model (dim,) or a block (clients,
dim). Its state ("moments") is arrays of the weights' shape, and the number of steps (..., 1).

A client's state usually starts afresh at every visit: weights and gradients have moved on since it
last took part, which may be long ago or never. With `keep=True` it stays at the client between
rounds. It never travels. But it follows from records of earlier rounds, so answers of later rounds
depend on those too, also on records that have been deleted since: plans that protect single
records refuse it, as they do all memory of raw gradients. Protecting whole clients is fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.settings import fraction, not_negative, positive

Moments = Mapping[str, Vector]
"""An optimiser's state: vectors by name, with the leading axes of the weights."""


class Optimiser(Protocol):
    """An optimiser with its settings."""

    kind: ClassVar[str]

    @property
    def keep(self) -> bool:
        """Whether a client keeps the state between rounds."""
        ...

    def start(self, weights: Vector) -> Moments:
        """The state before the first step."""
        ...

    def step(
        self, weights: Vector, gradient: Vector, moments: Moments, lr: Any
    ) -> tuple[Vector, Moments]:
        """Weights and state after one step; `lr` is a number, or one a client (clients, 1)."""
        ...


@final
@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent; see `sgd`."""

    kind: ClassVar[str] = "sgd"

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    keep: bool = False

    def __post_init__(self) -> None:
        fraction("momentum", self.momentum)
        not_negative("weight_decay", self.weight_decay)
        for name in ("nesterov", "keep"):
            if getattr(self, name) and not self.momentum:
                rule = "False where there is no momentum"
                raise TacitError("task.setting", name=name, value=True, rule=rule)

    def start(self, weights: Vector) -> Moments:
        """No velocity, where there is any."""
        return {"velocity": np.zeros_like(weights)} if self.momentum else {}

    def step(
        self, weights: Vector, gradient: Vector, moments: Moments, lr: Any
    ) -> tuple[Vector, Moments]:
        """v = momentum v + g; w - lr v, or with Nesterov's look ahead w - lr (g + momentum v)."""
        lr = _like(lr, weights)
        if self.weight_decay:
            gradient = gradient + self.weight_decay * weights
        if not self.momentum:
            return weights - lr * gradient, moments
        velocity = self.momentum * moments["velocity"] + gradient
        ahead = gradient + self.momentum * velocity if self.nesterov else velocity
        return weights - lr * ahead, {"velocity": velocity}


@final
@dataclass(frozen=True)
class Adam:
    """Adam; see `adam`."""

    kind: ClassVar[str] = "adam"

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    keep: bool = False

    def __post_init__(self) -> None:
        _check_adam(self)

    def start(self, weights: Vector) -> Moments:
        """Both moments zero."""
        return _start_adam(weights)

    def step(
        self, weights: Vector, gradient: Vector, moments: Moments, lr: Any
    ) -> tuple[Vector, Moments]:
        """Kingma and Ba 2015, Algorithm 1; decay is a penalty, and part of the gradient."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * weights
        return _adam(self, weights, gradient, moments, lr)


@final
@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay; see `adamw`."""

    kind: ClassVar[str] = "adamw"

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    keep: bool = False

    def __post_init__(self) -> None:
        _check_adam(self)

    def start(self, weights: Vector) -> Moments:
        """Both moments zero."""
        return _start_adam(weights)

    def step(
        self, weights: Vector, gradient: Vector, moments: Moments, lr: Any
    ) -> tuple[Vector, Moments]:
        """Loshchilov and Hutter 2019, Algorithm 2; decay shrinks the weights, not the gradient."""
        shrunk = weights * _like(1.0 - lr * self.weight_decay, weights)
        return _adam(self, shrunk, gradient, moments, lr)


AnyOptimiser = SGD | Adam | AdamW


def sgd(
    momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0, keep: bool = False
) -> SGD:
    """SGD with heavy-ball or Nesterov momentum and an L2 penalty, as torch.optim.SGD.

    `keep`: the velocity stays at the client between rounds, and later answers depend on earlier
    records; otherwise every visit starts at rest (see `tacit.learn.optimiser`).
    """
    return SGD(momentum, nesterov, weight_decay, keep)


def adam(
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    keep: bool = False,
) -> Adam:
    """Adam with bias correction and an L2 penalty, as torch.optim.Adam.

    `keep`: both moments and the count of steps stay at the client between rounds, and later
    answers depend on earlier records; otherwise every visit starts afresh (see
    `tacit.learn.optimiser`).
    """
    return Adam(beta1, beta2, epsilon, weight_decay, keep)


def adamw(
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
    keep: bool = False,
) -> AdamW:
    """Adam with decoupled weight decay, as torch.optim.AdamW; `keep` as in `adam`."""
    return AdamW(beta1, beta2, epsilon, weight_decay, keep)


def _start_adam(weights: Vector) -> Moments:
    count = np.zeros((*weights.shape[:-1], 1))
    return {"first": np.zeros_like(weights), "second": np.zeros_like(weights), "count": count}


def _adam(
    settings: Adam | AdamW, weights: Vector, gradient: Vector, moments: Moments, lr: Any
) -> tuple[Vector, Moments]:
    """The step of both; each client's bias is corrected by its own count."""
    beta1, beta2 = settings.beta1, settings.beta2
    count = moments["count"] + 1.0
    first = beta1 * moments["first"] + (1 - beta1) * gradient
    second = beta2 * moments["second"]
    second += (1 - beta2) * (gradient * gradient)
    root = np.sqrt(second)
    root /= _like(np.sqrt(1 - beta2**count), weights)
    root += settings.epsilon
    change = first / root
    change *= _like(lr / (1 - beta1**count), weights)
    return weights - change, {"first": first, "second": second, "count": count}


def _like(value: Any, weights: Vector) -> Any:
    """In the weights' type, so that they keep it."""
    return np.asarray(value, weights.dtype)


def _check_adam(settings: Adam | AdamW) -> None:
    fraction("beta1", settings.beta1)
    fraction("beta2", settings.beta2)
    not_negative("weight_decay", settings.weight_decay)
    positive("epsilon", settings.epsilon)
