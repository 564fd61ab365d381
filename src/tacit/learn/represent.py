"""Losses on what a model makes of a record: what contrastive algorithms ask of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import Local, Steps, Trained
from tacit.learn.examples import Examples
from tacit.learn.task import Gradient, Task

Array = npt.NDArray[Any]

Pull = Callable[[Array], tuple[Array, Array]]
"""A loss on representations (n, r): each record's loss (n,), and its derivative (n, r)."""

PullBeside = Callable[[Array, Sequence[Array]], tuple[Array, Array]]
"""As `Pull`, beside what other models make of the same records."""


@runtime_checkable
class Represents(Protocol):
    """A task whose model has a representation: what the named layer makes of each record.

    An empty name means what the model's last layer receives.
    """

    @property
    def representations(self) -> tuple[str, ...]:
        """The names that there are; none for a model without a layer before its last."""
        ...

    def represent(self, params: Vector, x: Array, layer: str) -> Array:
        """The representation of each row of `x` (n, r)."""
        ...

    def pulled_grad(
        self, params: Vector, batch: Examples, layer: str, pull: Pull, key: Key
    ) -> Gradient:
        """As `Task.grad`, of the mean loss plus the mean of `pull` on the representation."""
        ...


@runtime_checkable
class Contrasting(Local, Protocol):
    """One client's data and compute whose training may pull on the representation."""

    def train_pulled(
        self, params: Vector, steps: Steps, layer: str, others: Sequence[Vector], pull: PullBeside
    ) -> Trained:
        """As `train`, with `pull` beside what the models `others` make of each batch."""
        ...


def representing(task: Task) -> Represents:
    """The task, if its model has a representation; raises `task.no-representation` if not."""
    if not isinstance(task, Represents) or not task.representations:
        raise TacitError("task.no-representation", task=type(task).__name__)
    return task
