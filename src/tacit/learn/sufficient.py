"""Sufficient statistics of single records, and the models that follow from their mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Layout, Tensor, Vector

Array = npt.NDArray[Any]

RANK = 1e-12
"""Eigenvalues below this part of the largest count as zero (noise may even make them negative)."""


class Statistic(Protocol):
    """A vector s(x, y) for each record, and what its mean over records stands for.

    `x` is (n, features) and `y` (n,), float64; `mean` is a vector of `layout`.
    """

    @property
    def layout(self) -> Layout:
        """How s lies in its vector."""
        ...

    def total(self, x: Array, y: Array, factors: Array) -> Vector:
        """The sum over records of factor times s."""
        ...

    def dots(self, vector: Vector, x: Array, y: Array) -> Array:
        """The inner product of each record's s with a vector (n,)."""
        ...

    def squares(self, x: Array, y: Array) -> Array:
        """The squared L2 norm of each record's s (n,)."""
        ...

    def losses(self, mean: Vector, x: Array, y: Array) -> Array:
        """How badly the model behind `mean` fits each record (n,)."""
        ...

    def predict(self, mean: Vector, x: Array) -> Array:
        """What the model says of each row."""
        ...

    def result(self, mean: Vector) -> dict[str, Array]:
        """The model's parts by name."""
        ...


@final
@dataclass(frozen=True)
class Moments:
    """Second moments z z' of a record's z (width,), as the upper triangle.

    Off-diagonal entries are multiplied by sqrt(2), so that norms and inner products are those of
    the whole matrix and noise of one size everywhere is fair: |z z'| = |z|^2.
    """

    width: int

    @cached_property
    def layout(self) -> Layout:
        """The triangle, row by row."""
        return Layout((Tensor("moments", (self.width * (self.width + 1) // 2,)),))

    @cached_property
    def _triangle(self) -> tuple[Array, Array, Array]:
        rows, columns = np.triu_indices(self.width)
        return rows, columns, np.where(rows == columns, 1.0, np.sqrt(2.0))

    def total(self, z: Array, factors: Array) -> Vector:
        """The sum over records of factor times z z'."""
        rows, columns, scale = self._triangle
        total: Vector = (z.T @ (factors[:, None] * z))[rows, columns] * scale
        return total

    def matrix(self, vector: Vector) -> Array:
        """The symmetric matrix (width, width) of a vector."""
        rows, columns, scale = self._triangle
        found = np.empty((self.width, self.width))
        found[rows, columns] = found[columns, rows] = vector / scale
        return found

    def dots(self, vector: Vector, z: Array) -> Array:
        """z' M z of each record (n,)."""
        return np.asarray(((z @ self.matrix(vector)) * z).sum(axis=1))

    def squares(self, z: Array) -> Array:
        """|z|^4 of each record (n,)."""
        return np.asarray((z**2).sum(axis=1) ** 2)


@final
@dataclass(frozen=True)
class Ridge:
    """Linear regression from the moments of (1, x, y)."""

    features: int
    l2: float

    @property
    def moments(self) -> Moments:
        """Of (1, x, y)."""
        return Moments(self.features + 2)

    @property
    def layout(self) -> Layout:
        """One block of moments."""
        return self.moments.layout

    def total(self, x: Array, y: Array, factors: Array) -> Vector:
        """Sum of moments."""
        return self.moments.total(_joined(x, y), factors)

    def dots(self, vector: Vector, x: Array, y: Array) -> Array:
        """Inner products."""
        return self.moments.dots(vector, _joined(x, y))

    def squares(self, x: Array, y: Array) -> Array:
        """Squared norms."""
        return self.moments.squares(_joined(x, y))

    def losses(self, mean: Vector, x: Array, y: Array) -> Array:
        """0.5 (prediction - y)^2."""
        return np.asarray(0.5 * (self.predict(mean, x) - y) ** 2)

    def predict(self, mean: Vector, x: Array) -> Array:
        """x w + b."""
        found = self.result(mean)
        return np.asarray(x @ found["weights"] + found["bias"])

    def result(self, mean: Vector) -> dict[str, Array]:
        """Solve the normal equations; the shortest solution where they leave a choice."""
        matrix = self.moments.matrix(mean)
        penalty = self.l2 * np.diag([0.0, *[1.0] * self.features])
        values, vectors = np.linalg.eigh(matrix[:-1, :-1] + penalty)
        kept = values > RANK * max(values.max(), np.finfo(np.float64).tiny)
        vectors = vectors[:, kept]
        solution = vectors @ ((vectors.T @ matrix[:-1, -1]) / values[kept])
        return {"weights": solution[1:], "bias": solution[0]}


@final
@dataclass(frozen=True)
class Components:
    """Principal components from the moments of (1, x)."""

    features: int
    count: int

    @property
    def moments(self) -> Moments:
        """Of (1, x)."""
        return Moments(self.features + 1)

    @property
    def layout(self) -> Layout:
        """One block of moments."""
        return self.moments.layout

    def total(self, x: Array, y: Array, factors: Array) -> Vector:
        """Sum of moments."""
        return self.moments.total(_joined(x), factors)

    def dots(self, vector: Vector, x: Array, y: Array) -> Array:
        """Inner products."""
        return self.moments.dots(vector, _joined(x))

    def squares(self, x: Array, y: Array) -> Array:
        """Squared norms."""
        return self.moments.squares(_joined(x))

    def losses(self, mean: Vector, x: Array, y: Array) -> Array:
        """Half the squared distance to the plane of the components."""
        found = self.result(mean)
        rest = x - found["mean"]
        rest = rest - rest @ found["components"].T @ found["components"]
        return np.asarray(0.5 * (rest**2).sum(axis=1))

    def predict(self, mean: Vector, x: Array) -> Array:
        """Coordinates in the plane (n, count)."""
        found = self.result(mean)
        return np.asarray((x - found["mean"]) @ found["components"].T)

    def result(self, mean: Vector) -> dict[str, Array]:
        """Eigenvectors of the covariance, largest first; their largest entry is positive."""
        matrix = self.moments.matrix(mean)
        centre = matrix[0, 1:] / (matrix[0, 0] or 1.0)
        values, vectors = np.linalg.eigh(matrix[1:, 1:] - np.outer(centre, centre))
        components = vectors[:, ::-1].T[: self.count]
        largest = np.abs(components).argmax(axis=1)
        signs = np.sign(components[np.arange(self.count), largest])[:, None]
        variances = np.maximum(values[::-1][: self.count], 0.0)
        return {"mean": centre, "components": components * signs, "variances": variances}


@final
@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature from 1, x and x^2."""

    features: int

    @cached_property
    def layout(self) -> Layout:
        """The count, the sums, the sums of squares."""
        size = (self.features,)
        return Layout((Tensor("one", (1,)), Tensor("mean", size), Tensor("square", size)))

    def total(self, x: Array, y: Array, factors: Array) -> Vector:
        """Weighted sums."""
        return np.concatenate([[factors.sum()], factors @ x, factors @ x**2])

    def dots(self, vector: Vector, x: Array, y: Array) -> Array:
        """Inner products."""
        parts = self.layout.unpack(vector)
        return np.asarray(parts["one"] + x @ parts["mean"] + x**2 @ parts["square"])

    def squares(self, x: Array, y: Array) -> Array:
        """1 + sum of x^2 + x^4."""
        return np.asarray(1.0 + (x**2 + x**4).sum(axis=1))

    def losses(self, mean: Vector, x: Array, y: Array) -> Array:
        """Half the squared length of the standardised row."""
        return np.asarray(0.5 * (self.predict(mean, x) ** 2).sum(axis=1))

    def predict(self, mean: Vector, x: Array) -> Array:
        """(x - mean) / deviation; a constant feature is only centred."""
        found = self.result(mean)
        return np.asarray((x - found["mean"]) / found["deviation"])

    def result(self, mean: Vector) -> dict[str, Array]:
        """Mean, and deviation: 1 where a feature is constant."""
        parts = self.layout.unpack(mean)
        one = float(parts["one"][0]) or 1.0
        centre, square = parts["mean"] / one, parts["square"] / one
        variance = square - centre**2
        varies = variance > RANK * np.maximum(square, np.finfo(np.float64).tiny)
        deviation = np.sqrt(np.where(varies, variance, 1.0))
        return {"mean": centre, "deviation": deviation}


@final
@dataclass(frozen=True)
class Histograms:
    """One histogram a feature, over a public range."""

    features: int
    bins: int
    low: float
    high: float

    @cached_property
    def layout(self) -> Layout:
        """Shares (features, bins)."""
        return Layout((Tensor("shares", (self.features, self.bins)),))

    def total(self, x: Array, y: Array, factors: Array) -> Vector:
        """Weighted counts."""
        flat = (self.predict(np.empty(0), x) + self.bins * np.arange(self.features)).ravel()
        counts = np.bincount(flat, np.repeat(factors, self.features), self.layout.size)
        return counts.astype(np.float64)

    def dots(self, vector: Vector, x: Array, y: Array) -> Array:
        """The sum of the entries of a record's bins."""
        shares = self.layout.unpack(vector)["shares"]
        places = self.predict(np.empty(0), x)
        return np.asarray(shares[np.arange(self.features), places].sum(axis=1))

    def squares(self, x: Array, y: Array) -> Array:
        """One a feature."""
        return np.full(len(x), float(self.features))

    def losses(self, mean: Vector, x: Array, y: Array) -> Array:
        """Half the squared distance of the record's bins to the shares."""
        across = self.dots(mean, x, y)
        return np.asarray(0.5 * (mean @ mean - 2 * across + self.features))

    def predict(self, mean: Vector, x: Array) -> Array:
        """The bin of every feature (n, features)."""
        place = np.floor((x - self.low) / (self.high - self.low) * self.bins)
        return np.clip(place, 0, self.bins - 1).astype(np.int64)

    def result(self, mean: Vector) -> dict[str, Array]:
        """Edges and shares."""
        edges = np.linspace(self.low, self.high, self.bins + 1)
        return {"edges": edges, "shares": self.layout.unpack(mean)["shares"].copy()}


def _joined(x: Array, y: Array | None = None) -> Array:
    """Rows (1, x) or (1, x, y)."""
    last = () if y is None else (y.reshape(len(x), 1),)
    return np.concatenate([np.ones((len(x), 1)), x, *last], axis=1)
