"""Federated k-means: Lloyd's algorithm on sums, one iteration a round.

Lloyd 1982, "Least squares quantization in PCM"; the sums by client are those of Dhillon, Modha
2000, "A Data-Clustering Algorithm on Distributed Memory Multiprocessors", section 3. A record
adds its distance to its centroid and a one-hot count, so that clipping bounds what it can change
(noisy Lloyd: Blum, Dwork, McSherry, Nissim 2005, section 4). A pair: the task `kmeans` and the
algorithm `lloyd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Layout, Tensor, Vector
from tacit.learn.algorithm import Aggregate, Algorithm, State
from tacit.learn.contract import DataContract, check_examples
from tacit.learn.examples import Examples
from tacit.learn.fedavg import offer, start_plain
from tacit.learn.fedsgd import visit
from tacit.learn.settings import positive
from tacit.learn.task import NO_CLASSES, Gradient, Tallies, clip_factors

Array = npt.NDArray[Any]

NAMES = ("centroids", "shares")


@final
@dataclass(frozen=True)
class KMeansTask:
    """Settings of k-means; see `kmeans`."""

    kind: ClassVar[str] = "kmeans"

    clusters: int
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.clusters < 1:
            rule = "a whole number from 1"
            raise TacitError("task.setting", name="clusters", value=self.clusters, rule=rule)
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            rule = f"above `low`, which is {self.low}"
            raise TacitError("task.setting", name="high", value=self.high, rule=rule)

    @property
    def code(self) -> str:
        """User code that a client would run: none."""
        return ""

    def build(self, contract: DataContract | None) -> KMeans:
        """The task for a contract's features."""
        if contract is None:
            raise TacitError("task.no-shape")
        return KMeans(contract.shape, contract.classes, self.clusters, self.low, self.high)


def kmeans(clusters: int, low: float = 0.0, high: float = 1.0) -> KMeansTask:
    """Centroids of the clients' features; they start uniformly in the public range `low`..`high`.

    Learned with `lloyd()`; like every k-means it may end in a poor local optimum, so try seeds.
    """
    return KMeansTask(clusters, low, high)


@final
@dataclass(frozen=True)
class Lloyd:
    """Settings of Lloyd's algorithm; see `lloyd`."""

    kind: ClassVar[str] = "lloyd"

    least: float = 1e-9

    source = "Lloyd 1982; Dhillon, Modha 2000, section 3"

    def __post_init__(self) -> None:
        positive("least", self.least)

    def build(self) -> Algorithm:
        """The pure functions."""
        return Algorithm(start_plain, offer, visit, self._apply, one_step=True)

    def _apply(self, state: State, found: Aggregate, layout: Layout) -> State:
        if tuple(tensor.name for tensor in layout.tensors) != NAMES:
            raise TacitError("task.lloyd")
        after = state["params"].copy()
        new, mean = layout.unpack(after), layout.unpack(found.mean)
        shares = mean["shares"][:, None]
        taken = shares >= self.least
        new["centroids"] += np.where(taken, mean["centroids"] / np.where(taken, shares, 1.0), 0.0)
        new["shares"][...] = mean["shares"]
        return {"params": after}


def lloyd(least: float = 1e-9) -> Lloyd:
    """Move each centroid to the mean of its records, once a round.

    A centroid with less than the part `least` of the records stays where it is; under noise, give
    a part that stands out of the noise.
    """
    return Lloyd(least)


@final
@dataclass(frozen=True)
class KMeans:
    """k-means as a `tacit.learn.task.Task`: centroids (k, features) and their shares (k,).

    What `grad` answers is the mean over records of (centroid - x) at the record's centroid, and
    minus the one-hot of that centroid: all that Lloyd's step needs.
    """

    shape: tuple[int, ...]
    classes: int
    clusters: int
    low: float
    high: float

    @cached_property
    def layout(self) -> Layout:
        """Centroids, then the part of the records that each had in the last round."""
        features = int(np.prod(self.shape))
        sizes = ((self.clusters, features), (self.clusters,))
        return Layout(tuple(Tensor(n, size) for n, size in zip(NAMES, sizes, strict=True)))

    @property
    def mixes(self) -> str | None:
        """Records are added one by one."""
        return None

    def start(self, key: Key) -> Vector:
        """Uniform in the public range; no shares yet."""
        places = (key / "centroids").generator().uniform(self.low, self.high, self.layout.size)
        places[-self.clusters :] = 0.0
        return places

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels."""
        check_examples("this client", examples, self.shape, self.classes)

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Minus what Lloyd's step averages; the loss is half the squared distance."""
        chosen, rest = self._nearest(params, batch.x)
        total = self._total(chosen, rest, np.ones(batch.count))
        loss = 0.5 * float((rest**2).sum()) / batch.count
        return Gradient(total / -batch.count, np.empty(0), loss)

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """The same as a sum, each record's part, of norm sqrt(|x - c|^2 + 1), clipped."""
        chosen, rest = self._nearest(params, batch.x)
        factors = clip_factors(np.sqrt((rest**2).sum(axis=1) + 1.0), clip)
        return -self._total(chosen, rest, factors)

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Summed half squared distances to the nearest centroid."""
        _, rest = self._nearest(params, examples.x)
        return Tallies(float(examples.count), 0.5 * float((rest**2).sum()), NO_CLASSES)

    def predict(self, params: Vector, x: Array) -> Array:
        """The nearest centroid of each row (n,)."""
        return self._nearest(params, x)[0]

    def _nearest(self, params: Vector, x: Array) -> tuple[Array, Array]:
        """The nearest centroid (n,) and the way there from it (n, features)."""
        rows = np.asarray(x, np.float64).reshape(len(x), -1)
        centroids = self.layout.unpack(params)["centroids"]
        squares = (centroids**2).sum(axis=1) - 2 * rows @ centroids.T
        chosen = squares.argmin(axis=1)
        return chosen, rows - centroids[chosen]

    def _total(self, chosen: Array, rest: Array, factors: Array) -> Vector:
        one_hot = factors[:, None] * (chosen[:, None] == np.arange(self.clusters))
        return self.layout.pack({"centroids": one_hot.T @ rest, "shares": one_hot.sum(axis=0)})
