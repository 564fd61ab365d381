"""Gradient boosted trees over public bins: what a client adds to the histograms of a level.

Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine"; second order and
histograms as in Chen, Guestrin, KDD 2016, "XGBoost". A record adds its gradient and Hessian to one
bin a feature, at its node of the level that is being grown. Answers are scaled so that a record's
part has L2 norm at most 1: clipping and noise then have a bound that costs nothing. Bins come from
the contract's public ranges, so no statistic of a client's data is used. Users reach this as
`tacit.trees`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Layout, Vector
from tacit.learn.boosting import HESSIAN, Boosting, boosting
from tacit.learn.contract import Arrays, DataContract, check_examples
from tacit.learn.examples import Examples
from tacit.learn.forest import Forest
from tacit.learn.forest_json import xgboost_json
from tacit.learn.losses import LOSSES, Loss
from tacit.learn.model import Model
from tacit.learn.schema import Schema
from tacit.learn.task import NO_CLASSES, Gradient, Tallies, clip_factors

__all__ = ["BoostedTrees", "Boosting", "TreesTask", "boosted_trees", "boosting", "save_xgboost"]

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True)
class TreesTask:
    """Settings of boosted trees; see `boosted_trees`."""

    kind: ClassVar[str] = "trees"

    trees: int = 20
    depth: int = 3
    bins: int = 32

    def __post_init__(self) -> None:
        for name, least, most in (("trees", 1, 10_000), ("depth", 1, 12), ("bins", 2, 1024)):
            value = getattr(self, name)
            if not least <= value <= most:
                rule = f"a whole number from {least} to {most}"
                raise TacitError("task.setting", name=name, value=value, rule=rule)

    @property
    def code(self) -> str:
        """User code that a client would run: none."""
        return ""

    def build(self, contract: DataContract | None) -> BoostedTrees:
        """The task for a contract's features and public ranges."""
        if contract is None:
            raise TacitError("task.no-shape")
        if contract.classes > 2:
            raise TacitError("task.trees-classes", classes=contract.classes)
        low, high = _public_range(contract)
        features = int(np.prod(contract.shape))
        forest = Forest(self.trees, self.depth, features, self.bins, low, high)
        return BoostedTrees(contract.shape, contract.classes, forest)


def boosted_trees(trees: int = 20, depth: int = 3, bins: int = 32) -> TreesTask:
    """Up to `trees` trees of `depth` levels of splits over `bins` equal bins a feature.

    For two classes (logistic loss) or regression; bins span the data contract's public range.
    Learned with `boosting()`; a tree takes `depth` + 1 rounds.
    """
    return TreesTask(trees, depth, bins)


def save_xgboost(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model of boosted trees as a file that XGBoost loads: its JSON model format.

    Raises `task.no-trees` for another model, `data.cannot-write` where the file cannot be written.
    """
    if not isinstance(model.task, BoostedTrees):
        raise TacitError("task.no-trees", kind=type(model.task).__name__)
    model.task.save_xgboost(model.params, path)


@final
@dataclass(frozen=True)
class BoostedTrees:
    """Boosted trees as a `tacit.learn.task.Task`: the vector holds the forest.

    What `grad` answers is not a change of that vector but `layout.answer`: the mean over records of
    their parts of the histograms.
    """

    shape: tuple[int, ...]
    classes: int
    forest: Forest

    @property
    def layout(self) -> Layout:
        """The forest, and the histograms of one level."""
        return self.forest.layout

    @property
    def mixes(self) -> str | None:
        """Records are added one by one."""
        return None

    def start(self, key: Key) -> Vector:
        """No tree yet."""
        return self.forest.empty()

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels."""
        check_examples("this client", examples, self.shape, self.classes)

    def check_rounds(self, rounds: int) -> None:
        """Whole trees only, and no more than there is room for."""
        each = self.forest.rounds
        most = self.forest.trees * each
        if rounds > most:
            trees = -(-rounds // each)
            raise TacitError("task.trees-full", rounds=rounds, most=most, trees=trees)
        if rounds % each:
            down, up = rounds // each * each, (rounds // each + 1) * each
            near = f"{down} or {up}" if down else f"{up}"
            raise TacitError("task.trees-rounds", rounds=rounds, each=each, near=near)

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """The mean of the records' parts of the histograms; the loss is that of the forest."""
        binned = self.forest.binned(batch.x)
        slopes, curves, losses = self._derivatives(params, binned, batch.y)
        total = self._histograms(params, binned, slopes, curves)
        count = max(batch.count, 1)
        return Gradient(total / count, np.empty(0), float(losses.sum()) / count)

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """The same as a sum; a record's part has norm sqrt(g^2 + 8 h^2), and is clipped."""
        binned = self.forest.binned(batch.x)
        slopes, curves, _ = self._derivatives(params, binned, batch.y)
        factors = clip_factors(np.sqrt(slopes**2 + (HESSIAN * curves) ** 2), clip)
        return self._histograms(params, binned, factors * slopes, factors * curves)

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Summed loss of the finished trees and right answers."""
        margins = self._margins(params, examples.x)
        losses, _ = self._loss.both(margins, examples.y)
        right = float((self._loss.decide(margins) == examples.y).sum())
        right = right if self.classes else NO_CLASSES
        return Tallies(float(examples.count), float(losses.sum()), right)

    def predict(self, params: Vector, x: Array) -> Array:
        """Classes (int) or values (float), one a row."""
        return self._loss.decide(self._margins(params, x))

    def scores(self, params: Vector, x: Array) -> Array:
        """Probabilities of the classes (n, 2), or values (n,) for regression."""
        return self._loss.scores(self._margins(params, x))

    def save_xgboost(self, params: Vector, path: str | os.PathLike[str]) -> None:
        """Write the finished trees in XGBoost's JSON model format."""
        objective = "binary:logistic" if self.classes else "reg:squarederror"
        write_atomically(Path(path), xgboost_json(self.forest, params, objective))

    @property
    def _loss(self) -> Loss:
        return LOSSES["sigmoid" if self.classes else "squared"]

    def _margins(self, params: Vector, x: Array) -> Array:
        return self.forest.margins(params, self.forest.binned(x))[:, None]

    def _derivatives(self, params: Vector, binned: Array, y: Array) -> tuple[Array, Array, Array]:
        """First and second derivative of each record's loss by its margin, and the loss (n,).

        A squared error is divided by 4, so that both losses have a curvature of at most 1/4.
        """
        margins = self.forest.margins(params, binned)[:, None]
        losses, errors = self._loss.both(margins, y)
        if not self.classes:
            return errors[:, 0] / 4, np.full(len(y), 0.25), losses
        size = np.abs(errors[:, 0])
        return errors[:, 0], size * (1 - size), losses

    def _histograms(self, params: Vector, binned: Array, slopes: Array, curves: Array) -> Vector:
        """Sums at the nodes of the level that is being grown.

        The leaves' sums fill bins 0 and 1 (left and right) of every feature at their parent: what
        a record adds has the same norm, and the mean over features has less noise than one.
        """
        tree, level = self.forest.growing(params)
        nodes = self.forest.nodes(params, binned, tree, level)
        if level == self.forest.depth:
            binned, nodes = np.broadcast_to(nodes[:, None] % 2, binned.shape), nodes // 2
        features = self.forest.features
        places = (nodes[:, None] * features + np.arange(features)) * self.forest.bins + binned
        unit, size = np.sqrt(features), self.layout.update // 2
        parts = (slopes / unit, curves * (HESSIAN / unit))
        sums = [np.bincount(places.ravel(), np.repeat(part, features), size) for part in parts]
        return np.concatenate(sums)


def _public_range(contract: DataContract) -> tuple[float, float]:
    """The range that every feature is known to lie in."""
    if isinstance(contract, Schema):
        return -1.0, 1.0
    if not isinstance(contract, Arrays) or contract.low is None or contract.high is None:
        raise TacitError("task.trees-range")
    if not contract.low < contract.high:
        rule = f"above `low`, which is {contract.low}"
        raise TacitError("task.setting", name="high", value=contract.high, rule=rule)
    return contract.low, contract.high
