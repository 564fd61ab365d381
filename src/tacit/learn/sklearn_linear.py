"""Linear models on flat vectors, with the losses and penalties of scikit-learn's estimators.

The objective is mean_i loss(W x_i + b, y_i) + l2/2 |W|^2 + l2_intercept/2 |b|^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Layout, Tensor, Vector
from tacit.learn.contract import check_examples
from tacit.learn.examples import Examples
from tacit.learn.task import NO_CLASSES, Gradient, Tallies, clip_factors

Array = npt.NDArray[Any]


class ScoreLoss(Protocol):
    """A loss on scores (n, outputs); the ones of `tacit.learn.losses` fit too."""

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Loss of each example (n,), and its derivative by each score (n, outputs)."""
        ...

    def decide(self, logits: Array) -> Array:
        """Predicted classes or values (n,)."""
        ...


@final
@dataclass(frozen=True)
class Margin:
    """A loss of the margin t f(x), t = +-1: one classifier for two classes, else one each."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Summed over the one-against-the-rest classifiers."""
        columns = np.arange(logits.shape[1]) + (logits.shape[1] == 1)
        signs = np.where(labels.reshape(-1, 1) == columns, 1.0, -1.0)
        margins = signs * logits
        values: Array = self.value(margins).sum(axis=1)
        return values, signs * self.slope(margins)

    def decide(self, logits: Array) -> Array:
        """The class with the largest score; class 1 where the only score is positive."""
        if logits.shape[1] == 1:
            return (logits[:, 0] > 0).astype(np.int64)
        return np.asarray(logits.argmax(axis=1))


@final
@dataclass(frozen=True)
class Huber:
    """Half the squared error up to `epsilon`, linear beyond (Huber 1964)."""

    epsilon: float

    def both(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Loss and derivative of the one score."""
        error = logits - labels.astype(np.float64).reshape(-1, 1)
        inside = np.clip(error, -self.epsilon, self.epsilon)
        return (inside * (error - 0.5 * inside))[:, 0], inside

    def decide(self, logits: Array) -> Array:
        """The value itself."""
        return logits[:, 0]


LOG = Margin(lambda m: np.logaddexp(0.0, -m), lambda m: 0.5 * (np.tanh(0.5 * m) - 1.0))
HINGE = Margin(lambda m: np.maximum(0.0, 1.0 - m), lambda m: -1.0 * (m <= 1.0))
SQUARED_HINGE = Margin(
    lambda m: np.maximum(0.0, 1.0 - m) ** 2, lambda m: -2.0 * np.maximum(0.0, 1.0 - m)
)


@final
@dataclass(frozen=True)
class LinearModel:
    """A linear model as a `Task`, float64; `fitted` makes the estimator from a trained vector."""

    shape: tuple[int, ...]
    classes: int
    outputs: int
    loss: ScoreLoss
    l2: float
    l2_intercept: float
    intercept: bool
    fitted: Callable[[Array, Array, int], Any]

    @cached_property
    def layout(self) -> Layout:
        """coef (outputs, features), then intercept (outputs,) if the model has one."""
        coef = Tensor("coef", (self.outputs, int(np.prod(self.shape))))
        return Layout((coef, Tensor("intercept", (self.outputs,))) if self.intercept else (coef,))

    @property
    def mixes(self) -> str | None:
        """No layer mixes examples."""
        return None

    def start(self, key: Key) -> Vector:
        """Zeros: the problem is convex."""
        return np.zeros(self.layout.size)

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels."""
        check_examples("this client", examples, self.shape, self.classes)

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Gradient of the mean loss, penalty included."""
        coef, intercept = self._parts(params)
        x = self._flat(batch.x)
        losses, errors = self.loss.both(x @ coef.T + intercept, batch.y)
        errors = errors / batch.count
        gradient = self._join(errors.T @ x, errors.sum(axis=0))
        penalty = self._slope(params)
        loss = float(losses.mean()) + 0.5 * float(params @ penalty)
        return Gradient(gradient + penalty, np.empty(0), loss)

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Exact, without per-example gradients.

        An example's gradient is error (x) [features, 1] + penalty, the penalty being part of its
        loss; the norm follows from the norms and the inner product of the two (Goodfellow 2015,
        "Efficient per-example gradient computations").
        """
        coef, intercept = self._parts(params)
        x = self._flat(batch.x)
        scores = x @ coef.T
        _, errors = self.loss.both(scores + intercept, batch.y)
        penalty = self._slope(params)
        inner = errors * (self.l2 * scores + self.l2_intercept * intercept)
        outer = (errors**2).sum(axis=1) * ((x**2).sum(axis=1) + self.intercept)
        norms = _norms_above(outer, inner, float(penalty @ penalty))
        factors = clip_factors(norms, clip)
        errors = errors * factors[:, None]
        total: Vector = self._join(errors.T @ x, errors.sum(axis=0)) + factors.sum() * penalty
        return total

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Summed loss (without penalty) and right answers."""
        scores = self._scores(params, examples.x)
        losses, _ = self.loss.both(scores, examples.y)
        right = float((self.loss.decide(scores) == examples.y).sum())
        right = right if self.classes else NO_CLASSES
        return Tallies(float(examples.count), float(losses.sum()), right)

    def predict(self, params: Vector, x: Array) -> Array:
        """Classes (int) or values (float), one a row."""
        return self.loss.decide(self._scores(params, x))

    def estimator(self, params: Vector) -> Any:
        """A fitted scikit-learn estimator that holds the model."""
        coef, intercept = self._parts(params)
        return self.fitted(coef.copy(), intercept + np.zeros(self.outputs), self.classes)

    def _scores(self, params: Vector, x: Array) -> Array:
        coef, intercept = self._parts(params)
        scores: Array = self._flat(x) @ coef.T + intercept
        return scores

    def _flat(self, x: Array) -> Array:
        return np.asarray(np.reshape(x, (len(x), -1)), np.float64)

    def _parts(self, params: Vector) -> tuple[Array, Array]:
        views = self.layout.unpack(params)
        return views["coef"], views.get("intercept", np.zeros(1))

    def _join(self, coef: Array, intercept: Array) -> Vector:
        parts = [coef.ravel(), intercept] if self.intercept else [coef.ravel()]
        joined: Vector = np.concatenate(parts)
        return joined

    def _slope(self, params: Vector) -> Vector:
        """Gradient of the penalty."""
        coef, intercept = self._parts(params)
        return self._join(self.l2 * coef, self.l2_intercept * intercept)


def _norms_above(outer: Array, inner: Array, penalty: float) -> Array:
    """|a + p| from |a|^2, the terms of <a, p> and |p|^2, never below: cancellation rounds up."""
    exact = outer + 2.0 * inner.sum(axis=1) + penalty
    spread = outer + 2.0 * np.abs(inner).sum(axis=1) + penalty
    norms: Array = np.sqrt(np.maximum(exact, 0.0) + 1e-13 * spread)
    return norms
