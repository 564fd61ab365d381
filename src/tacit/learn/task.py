"""What a client computes: a model, its gradient, and its evaluation, over flat vectors."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Layout, Vector
from tacit.learn.examples import Examples


class Gradient(NamedTuple):
    """One gradient: of the trained coordinates, the buffers after this batch, the mean loss."""

    trained: Vector
    buffers: Vector
    loss: float


NO_CLASSES = float("nan")
"""Right answers where there are no classes: regression has no accuracy, not one of zero."""


class Tallies(NamedTuple):
    """Sums over examples of one evaluation; divide by `examples` for means."""

    examples: float
    loss: float
    correct: float

    @property
    def mean_loss(self) -> float:
        """Loss per example (NaN without examples)."""
        return self.loss / self.examples if self.examples else float("nan")

    @property
    def accuracy(self) -> float:
        """Fraction right; NaN without examples or classes."""
        return self.correct / self.examples if self.examples else float("nan")


class Task(Protocol):
    """A model and what can be computed with it. `params` is the flat vector of `layout`."""

    @property
    def layout(self) -> Layout:
        """How the model lies in its vector."""
        ...

    @property
    def mixes(self) -> str | None:
        """The name of a layer that mixes the examples of a batch (batch norm), or None."""
        ...

    def start(self, key: Key) -> Vector:
        """Initial parameters and buffers (layout.size,)."""
        ...

    def check(self, examples: Examples) -> None:
        """Raise a `TacitError` for data that this task cannot use (shape, label out of range)."""
        ...

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Gradient of the mean loss over the batch."""
        ...

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Sum of the examples' gradients, each scaled to norm at most `clip` (Abadi 2016)."""
        ...

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Exact sums of loss and of right answers."""
        ...

    def predict(self, params: Vector, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Predicted labels (or values) for features."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A task that is learned in stages of several rounds, such as trees level by level."""

    def check_rounds(self, rounds: int) -> None:
        """Raise a `TacitError` for a number of rounds that ends within a stage."""
        ...


def clip_factors(norms: Vector, clip: float) -> Vector:
    """min(1, clip / norm) for each norm, a hair less so that rounding never exceeds `clip`.

    A norm that is not finite leaves its sum not finite, which is found and named at the turn.
    """
    limit = clip * (1 - 8 * np.finfo(norms.dtype).eps)
    factors: Vector = limit / np.maximum(norms, limit)
    return factors
