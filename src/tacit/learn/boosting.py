"""Boosting on summed histograms: the coordinator's half of federated gradient boosting.

Splits and leaf values: Chen, Guestrin, KDD 2016, "XGBoost: A Scalable Tree Boosting System",
equations 5 and 7, on histograms (section 3.2 with public candidates). All sums are divided by the
number of records, so that no setting depends on what a chain's weights count: XGBoost's `lambda`
and `min_child_weight` are `l2` and `least` times the number of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Layout
from tacit.learn.algorithm import Aggregate, Algorithm, Contribution, Local, Need, Offer, State
from tacit.learn.fedavg import offer, start_plain
from tacit.learn.settings import not_negative, positive

Array = npt.NDArray[Any]

HESSIAN = np.sqrt(8.0)
"""Hessians travel times this: with |g| = q and h = q (1 - q), g^2 + 8 h^2 still is at most 1."""

SMALLEST_GAIN = 1e-9
"""Gains below this are rounding, and so are differences of this part of a gain: the first wins."""


@final
@dataclass(frozen=True)
class Boosting:
    """Settings of gradient boosting; see `boosting`."""

    kind: ClassVar[str] = "boosting"

    lr: float = 0.3
    l2: float = 1e-3
    least: float = 1e-3

    source = "Chen, Guestrin 2016, equations 5 and 7, on summed histograms"

    def __post_init__(self) -> None:
        positive("lr", self.lr)
        not_negative("l2", self.l2)
        positive("least", self.least)

    def build(self) -> Algorithm:
        """The pure functions."""
        needs = frozenset({Need.ANSWER})
        return Algorithm(start_plain, offer, visit, self._apply, one_step=True, needs=needs)

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        after = state["params"].copy()
        parts, (slopes, curves) = layout.unpack(after), unpacked(found.mean, layout)
        levels = parts["leaf"].shape[1].bit_length()
        tree, level = divmod(int(parts["round"][0]), levels)
        if level < levels - 1:
            here = slice(2**level - 1, 2 ** (level + 1) - 1)
            feature, at = best_splits(slopes[: 2**level], curves[: 2**level], self.l2, self.least)
            parts["feature"][tree, here], parts["bin"][tree, here] = feature, at
        else:
            slope, curve = (part[:, :, :2].mean(axis=1).ravel() for part in (slopes, curves))
            parts["leaf"][tree] = self.lr * leaf_values(slope, curve, self.l2, self.least)
        parts["round"] += 1
        return {"params": after}


def boosting(lr: float = 0.3, l2: float = 1e-3, least: float = 1e-3) -> Boosting:
    """Grow `boosted_trees` one level a round, and one round more for a tree's leaves.

    `lr` shrinks the leaves; `l2` is their penalty and `least` the Hessian that each side of a split
    must have, both a record: XGBoost's `lambda` and `min_child_weight` divided by the number of
    records. Under noise choose a `least` that stands out of it.
    """
    return Boosting(lr, l2, least)


def visit(received: Offer, memory: Any, home: Local) -> tuple[Contribution, Any]:
    """Answer the histograms of the level that is being grown."""
    return home.gradient(received["params"]), memory


def unpacked(mean: Array, layout: Layout) -> tuple[Array, Array]:
    """Gradients and Hessians (nodes, features, bins) a record, in the loss's own units."""
    parts = Layout(layout.answer).unpack(mean)
    unit = np.sqrt(parts["gradient"].shape[1])
    return parts["gradient"] * unit, parts["hessian"] * (unit / HESSIAN)


def best_splits(slopes: Array, curves: Array, l2: float, least: float) -> tuple[Array, Array]:
    """For each node the feature, and the first bin that goes right (nodes,); equation 7.

    The first bin is the number of bins, so that everyone goes left, where no split has a gain.
    """
    nodes, _, bins = slopes.shape
    left, under = slopes.cumsum(axis=2), curves.cumsum(axis=2)
    whole, over = left[:, :, -1:], under[:, :, -1:]
    left, under = left[:, :, :-1], under[:, :, :-1]
    gains = _score(left, under, l2) + _score(whole - left, over - under, l2)
    gains -= _score(whole, over, l2)
    gains[(under < least) | (over - under < least)] = 0.0
    flat = gains.reshape(nodes, -1)
    best = flat.max(axis=1, keepdims=True)
    chosen = (flat >= best * (1 - SMALLEST_GAIN)).argmax(axis=1)
    feature, place = np.divmod(chosen, bins - 1)
    splits = best[:, 0] > SMALLEST_GAIN
    return np.where(splits, feature, 0), np.where(splits, place + 1, bins)


def leaf_values(slopes: Array, curves: Array, l2: float, least: float) -> Array:
    """-G / (H + l2), equation 5; zero where a leaf has no weight to speak of."""
    held = curves >= least
    return np.where(held, -slopes / np.where(held, curves + l2, 1.0), 0.0)


def _score(slopes: Array, curves: Array, l2: float) -> Array:
    """G^2 / (H + l2); zero where H is not positive (empty, or noise)."""
    return np.where(curves > 0, slopes**2 / np.where(curves > 0, curves + l2, 1.0), 0.0)
