"""The local loop: minibatch SGD at a client, and the one clipped gradient of record-level DP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import Contribution, Rule, Step, Steps, Trained
from tacit.learn.descent import Descent
from tacit.learn.examples import Examples
from tacit.learn.personal import Split
from tacit.learn.represent import PullBeside, representing
from tacit.learn.task import Gradient, Tallies, Task

Grad = Callable[[Vector, Examples, Key], Gradient]
"""Parameters, a batch and randomness to a gradient, as `Task.grad` does it."""


@final
@dataclass(frozen=True)
class RecordRule:
    """What a chain asks of every single record: Poisson sampling at `rate`, clipping to `clip`."""

    clip: float
    rate: float


@final
@dataclass(frozen=True)
class Home:
    """A client's own data and compute, given to an algorithm's `visit` (see `Local`)."""

    task: Task
    held: Examples
    key: Key
    records: RecordRule | None = None
    split: Split | None = None

    @property
    def examples(self) -> int:
        """Number of records at home."""
        return self.held.count

    @property
    def trained(self) -> int:
        """Trained coordinates of the model."""
        return self.task.layout.trained

    @cached_property
    def personal(self) -> npt.NDArray[np.bool_]:
        """Which trained coordinates stay at home (trained,)."""
        none = np.zeros(self.trained, np.bool_)
        return none if self.split is None else self.split.stays[: self.trained]

    def train(
        self, params: Vector, steps: Steps, rule: Rule | None = None, grad: Grad | None = None
    ) -> Trained:
        """Minibatch SGD with momentum; McMahan et al. 2017, Algorithm 1, ClientUpdate.

        Or another optimiser, as `steps` say; `grad` stands in for the task's own.
        """
        grad = grad or self.task.grad
        params = params.copy()
        weights, buffers = params[: self.trained], params[self.trained :]
        descent = Descent.of(steps, weights, steps.count(self.held.count))
        losses = []
        for step, rows in enumerate(_batches(self.held.count, steps, self.key / "order")):
            gradient = grad(params, self.held.take(rows), self.key / "step" / step)
            direction = rule(gradient.trained, weights) if rule else gradient.trained
            descent.move(step, direction)
            buffers[...] = gradient.buffers
            losses.append(gradient.loss)
        return Trained(params, len(losses), float(np.mean(losses)), descent.moments)

    def train_pulled(
        self, params: Vector, steps: Steps, layer: str, others: Sequence[Vector], pull: PullBeside
    ) -> Trained:
        """As `train`, with a loss on the representation beside those of other models."""
        task = representing(self.task)

        def grad(params: Vector, batch: Examples, key: Key) -> Gradient:
            seen = [task.represent(other, batch.x, layer) for other in others]
            return task.pulled_grad(params, batch, layer, lambda z: pull(z, seen), key)

        return self.train(params, steps, grad=grad)

    def batches(self, steps: Steps) -> Iterator[Step]:
        """The batches that `train` takes, each as a function from parameters to a gradient."""
        for step, rows in enumerate(_batches(self.held.count, steps, self.key / "order")):
            yield partial(self._gradient, self.held.take(rows), self.key / "step" / step)

    def _gradient(self, batch: Examples, key: Key, params: Vector) -> Gradient:
        return self.task.grad(params, batch, key)

    def gradient(self, params: Vector) -> Contribution:
        """One gradient at `params`: the mean over all records, or the chain's clipped sum."""
        if self.records is None:
            found = self.task.grad(params, self.held, self.key / "step")
            update = np.concatenate([found.trained, found.buffers])
            return Contribution(update, 1.0, found.loss)
        batch = self.drawn()
        update = np.zeros(self.task.layout.update, params.dtype)
        if batch.count:
            update = self.task.clipped_grad_sum(params, batch, self.records.clip, self.key / "step")
        return Contribution(update, float(batch.count), float("nan"))

    def drawn(self) -> Examples:
        """The records of this visit: all, or the Poisson sample that the chain asks for.

        Everything that leaves is a function of these, or amplification could not be claimed.
        """
        if self.records is None or self.records.rate == 1.0:
            return self.held
        coins = (self.key / "records").generator().random(self.held.count)
        return self.held.take(coins < self.records.rate)

    def loss(self, params: Vector) -> float:
        """Mean loss of a model on this visit's records, penalties apart."""
        return self.report(params).mean_loss

    def held_out(self, fraction: float) -> tuple[Home, Home]:
        """Two homes with about 1 - `fraction` and `fraction` of the records, by a coin a record.

        Neither is empty where there are two records.
        """
        parts = hold_out(self.held, fraction, self.key / "held out")
        fit, check = (replace(self, held=held) for held in parts)
        return fit, check

    def evaluate(self, params: Vector) -> Tallies:
        """Exact sums over all records."""
        return self.task.evaluate(params, self.held)

    def report(self, params: Vector) -> Tallies:
        """Loss and right answers of the offered model on this visit's records, if it has any."""
        batch = self.drawn()
        return self.task.evaluate(params, batch) if batch.count else Tallies(0.0, 0.0, 0.0)


def hold_out(examples: Examples, fraction: float, key: Key) -> tuple[Examples, Examples]:
    """Two parts of the records, the second with about `fraction` of them, by a coin a record.

    The first has at least one, and the second too where there are two records.
    """
    coins = key.generator().random(examples.count)
    second = coins < fraction
    if second.all():
        second[np.argmax(coins)] = False
    if examples.count > 1 and not second.any():
        second[np.argmin(coins)] = True
    return examples.take(~second), examples.take(second)


def _batches(count: int, steps: Steps, key: Key) -> Iterator[npt.NDArray[Any] | slice]:
    """Row indices of each step: whole passes, or passes until `steps.steps` are done."""
    size = min(steps.batch, count) if steps.batch else count
    per_pass = -(-count // size)
    left = steps.steps or steps.epochs * per_pass
    turn = 0
    while left > 0:
        order = (key / turn).generator().permutation(count) if steps.shuffle else None
        for start in range(0, min(left, per_pass) * size, size):
            rows = slice(start, min(start + size, count))
            yield rows if order is None else order[rows]
        left, turn = left - per_pass, turn + 1
