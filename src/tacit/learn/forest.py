"""Forests of complete binary trees over public bins, as fixed-size arrays in one flat vector.

Heap order: node j of level l has the children 2j and 2j + 1 of level l + 1. A record goes left
where its feature's bin lies below the node's; a node that was not split sends everyone left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Layout, Tensor, Vector

Array = npt.NDArray[Any]


@final
@dataclass(frozen=True)
class Forest:
    """The shape of a forest: up to `trees` trees of `depth` levels of splits, and its bins.

    Every feature has `bins` equal bins over the public range `low`..`high`; the outer ones are
    open. Edges are float32 numbers, and so are values when they are compared: what XGBoost does.
    """

    trees: int
    depth: int
    features: int
    bins: int
    low: float
    high: float

    @property
    def rounds(self) -> int:
        """Rounds of one tree: one a level, and one for the leaves."""
        return self.depth + 1

    @cached_property
    def layout(self) -> Layout:
        """The trees, the number of rounds done, and what one round's answer holds."""
        inner, sums = (self.trees, 2**self.depth - 1), 2 ** (self.depth - 1)
        tensors = (
            Tensor("feature", inner),
            Tensor("bin", inner),
            Tensor("leaf", (self.trees, 2**self.depth)),
            Tensor("round", (1,)),
        )
        histogram = (sums, self.features, self.bins)
        return Layout(tensors, answer=(Tensor("gradient", histogram), Tensor("hessian", histogram)))

    @cached_property
    def edges(self) -> npt.NDArray[np.float32]:
        """Inner edges of the bins (bins - 1,): bin b holds edges[b - 1] <= x < edges[b]."""
        return np.linspace(self.low, self.high, self.bins + 1)[1:-1].astype(np.float32)

    def empty(self) -> Vector:
        """No tree yet: no node is split, all leaves are zero."""
        params = np.zeros(self.layout.size)
        self.layout.unpack(params)["bin"][...] = self.bins
        return params

    def binned(self, x: Array) -> npt.NDArray[np.int64]:
        """The bin of each value (n, features)."""
        rows = np.asarray(x).reshape(len(x), self.features).astype(np.float32)
        return np.searchsorted(self.edges, rows, side="right")

    def growing(self, params: Vector) -> tuple[int, int]:
        """The tree and the level that come next; level `depth` is the leaves."""
        return divmod(int(self.layout.unpack(params)["round"][0]), self.rounds)

    def nodes(self, params: Vector, binned: Array, tree: int, level: int) -> npt.NDArray[np.int64]:
        """The node of a level of a tree that each record is in (n,)."""
        parts = self.layout.unpack(params)
        feature, at = parts["feature"][tree].astype(np.int64), parts["bin"][tree]
        rows, node = np.arange(len(binned)), np.zeros(len(binned), np.int64)
        for above in range(level):
            place = 2**above - 1 + node
            node = 2 * node + (binned[rows, feature[place]] >= at[place])
        return node

    def margins(self, params: Vector, binned: Array) -> Array:
        """The sum of the leaves that each record is in, over all finished trees (n,)."""
        leaves, total = self.layout.unpack(params)["leaf"], np.zeros(len(binned))
        for tree in range(self.growing(params)[0]):
            total += leaves[tree, self.nodes(params, binned, tree, self.depth)]
        return total
