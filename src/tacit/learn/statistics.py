"""Closed forms: models that follow from a mean over records, learned in one round.

Ridge regression, principal components, standardisation and histograms need no descent: a
record has a vector of sufficient statistics, and the model follows from their mean over all
records, wherever these lie (Chu et al., NeurIPS 2006, "Map-Reduce for Machine Learning on
Multicore"). As a `Task` the mean of the statistics is the flat vector, and the loss is half the
squared distance of a record's statistics to it, so that one step of `fedsgd(lr=1)` is exact.
Everything of a chain applies: clipping a record's gradient bounds what it adds (Vu, Slavkovic
2009; Wang 2018, "Revisiting Differentially Private Linear Regression": noise on the sufficient
statistics). Users reach this as `tacit.statistics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Layout, Vector
from tacit.learn.contract import DataContract, check_examples
from tacit.learn.examples import Examples
from tacit.learn.kmeans import kmeans
from tacit.learn.model import Model
from tacit.learn.sufficient import Components, Histograms, Ridge, Scaling, Statistic
from tacit.learn.task import NO_CLASSES, Gradient, Tallies, clip_factors

__all__ = [
    "Statistics",
    "StatisticsTask",
    "histograms",
    "kmeans",
    "pca",
    "result",
    "ridge",
    "standardise",
]

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True)
class StatisticsTask:
    """Settings of a closed form; see `ridge`, `pca`, `standardise` and `histograms`."""

    kind: ClassVar[str] = "statistics"

    of: Literal["ridge", "pca", "standardise", "histograms"]
    l2: float = 0.0
    components: int = 1
    bins: int = 10
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.l2) and self.l2 >= 0):
            raise TacitError("task.setting", name="l2", value=self.l2, rule="zero or more")
        for name in ("components", "bins"):
            if getattr(self, name) < 1:
                rule = "a whole number from 1"
                raise TacitError("task.setting", name=name, value=getattr(self, name), rule=rule)
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            rule = f"above `low`, which is {self.low}"
            raise TacitError("task.setting", name="high", value=self.high, rule=rule)

    @property
    def code(self) -> str:
        """User code that a client would run: none."""
        return ""

    def build(self, contract: DataContract | None) -> Statistics:
        """The task for a contract's features."""
        if contract is None:
            raise TacitError("task.no-shape")
        return Statistics(contract.shape, contract.classes, self._statistic(contract.shape))

    def _statistic(self, shape: tuple[int, ...]) -> Statistic:
        features = int(np.prod(shape))
        match self.of:
            case "ridge":
                return Ridge(features, self.l2)
            case "pca":
                if self.components > features:
                    rule = f"at most the number of features, {features}"
                    raise TacitError(
                        "task.setting", name="components", value=self.components, rule=rule
                    )
                return Components(features, self.components)
            case "standardise":
                return Scaling(features)
            case "histograms":
                return Histograms(features, self.bins, self.low, self.high)


def ridge(l2: float = 0.0) -> StatisticsTask:
    """Linear regression with penalty l2/2 |w|^2 (bias free), exact from second moments."""
    return StatisticsTask("ridge", l2=l2)


def pca(components: int) -> StatisticsTask:
    """The first principal components of the features of all clients together."""
    return StatisticsTask("pca", components=components)


def standardise() -> StatisticsTask:
    """Mean and standard deviation of every feature, over all clients."""
    return StatisticsTask("standardise")


def histograms(bins: int, low: float = 0.0, high: float = 1.0) -> StatisticsTask:
    """A histogram of every feature: `bins` equal bins from `low` to `high`.

    Values outside count for the outermost ones.
    """
    return StatisticsTask("histograms", bins=bins, low=low, high=high)


def result(model: Model) -> dict[str, Array]:
    """What a closed form found, by name.

    ridge: weights (features,), bias (); pca: mean (features,), components (k, features),
    variances (k,); standardise: mean, deviation (features,); histograms: edges (bins + 1,),
    shares (features, bins).
    """
    if not isinstance(model.task, Statistics):
        raise TacitError("task.no-statistics", kind=type(model.task).__name__)
    return model.task.statistic.result(model.params)


@final
@dataclass(frozen=True)
class Statistics:
    """The mean of a statistic over records, as a `tacit.learn.task.Task`."""

    shape: tuple[int, ...]
    classes: int
    statistic: Statistic

    @property
    def layout(self) -> Layout:
        """The statistic's parts by name."""
        return self.statistic.layout

    @property
    def mixes(self) -> str | None:
        """Records are added one by one."""
        return None

    def start(self, key: Key) -> Vector:
        """Zeros."""
        return np.zeros(self.layout.size)

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels."""
        check_examples("this client", examples, self.shape, self.classes)

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """The vector minus the mean of the records' statistics."""
        x, y = self._flat(batch)
        mean = self.statistic.total(x, y, np.ones(batch.count)) / batch.count
        loss = 0.5 * float(self._squares(params, x, y).mean())
        return Gradient(params - mean, np.empty(0), loss)

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Sum over records of (vector - statistic), each scaled to L2 norm at most `clip`."""
        x, y = self._flat(batch)
        factors = clip_factors(np.sqrt(self._squares(params, x, y)), clip)
        total: Vector = factors.sum() * params - self.statistic.total(x, y, factors)
        return total

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Summed loss of what the statistic stands for; there is no right or wrong."""
        x, y = self._flat(examples)
        losses = self.statistic.losses(params, x, y)
        return Tallies(float(examples.count), float(losses.sum()), NO_CLASSES)

    def predict(self, params: Vector, x: Array) -> Array:
        """ridge: values; pca: scores (n, k); standardise: scaled features; histograms: bins."""
        return self.statistic.predict(params, np.asarray(x, np.float64).reshape(len(x), -1))

    def _squares(self, params: Vector, x: Array, y: Array) -> Array:
        """Squared distance of each record's statistic to the vector (n,)."""
        across = self.statistic.dots(params, x, y)
        squares = params @ params - 2 * across + self.statistic.squares(x, y)
        return np.asarray(np.maximum(squares, 0.0))

    def _flat(self, examples: Examples) -> tuple[Array, Array]:
        x = np.asarray(examples.x, np.float64).reshape(examples.count, -1)
        return x, np.asarray(examples.y, np.float64)
