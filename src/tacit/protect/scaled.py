"""Rows that are not multiplied out yet: adjacent stages that only scale become one product.

Clipping, weights, balance and the grid's step are each a factor for every block of every row; their
product is taken on (clients,) numbers, and the rows are read and written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Rows, Vector
from tacit.protect.form import Form
from tacit.protect.stage import At, Memory, Unchanged

Factors = npt.NDArray[np.float64]

CHUNK = 1024
"""Coordinates whose squares are added in the rows' own precision, before float64 takes over."""

_SMALLEST = 1e-20
"""Sums of squares below which some in float32 may have been rounded to nothing."""


@final
@dataclass(frozen=True, eq=False)
class Scaled:
    """Blocks by name (clients, size), in the order of a row, and a factor (clients,) for some."""

    parts: Mapping[str, Rows]
    factors: Mapping[str, Factors]
    norms: dict[str, Factors] = field(default_factory=dict)
    """L2 norms of the parts' rows, of those that were asked for: they are not measured twice."""

    @staticmethod
    def of(form: Form, rows: Rows) -> Scaled:
        """Rows as they are."""
        return Scaled({name: rows[:, span] for name, span in form.spans.items()}, {})

    def times(self, names: Iterable[str], by: Factors) -> Scaled:
        """Some blocks multiplied by a number a row."""
        new = {name: by * self.factors[name] if name in self.factors else by for name in names}
        return Scaled(self.parts, {**self.factors, **new}, self.norms)

    def lengths(self, name: str) -> Factors:
        """L2 norms of a block's rows (clients,)."""
        if name not in self.norms:
            self.norms[name] = lengths(self.parts[name])
        return self.norms[name] * np.abs(self.factors.get(name, np.ones(1)))

    def reach(self) -> float:
        """What no number exceeds in magnitude, but for what rounding adds to it."""
        return max(float(self.lengths(name).max(initial=0.0)) for name in self.parts)

    def block(self, name: str) -> Rows:
        """A block's rows, multiplied out."""
        factor = {key: one for key, one in self.factors.items() if key == name}
        return Scaled({name: self.parts[name]}, factor).rows()

    def replaced(self, name: str, part: Rows) -> Scaled:
        """With other rows in a block."""
        factors = {key: one for key, one in self.factors.items() if key != name}
        return Scaled({**self.parts, name: part}, factors)

    @property
    def shape(self) -> tuple[int, int]:
        """Clients and coordinates."""
        parts = self.parts.values()
        return len(next(iter(parts))), sum(part.shape[1] for part in parts)

    def rows(self, span: slice | None = None) -> Rows:
        """Rows of their own, or some coordinates of them; in the type of the first block."""
        clients, size = self.shape
        start, stop = (span.start, span.stop) if span else (0, size)
        dtype = next(iter(self.parts.values())).dtype
        room, first = np.empty((clients, stop - start), dtype), 0
        for name, part in self.parts.items():
            last = first + part.shape[1]
            if first < stop and start < last:
                into = room[:, max(first - start, 0) : last - start]
                held = part[:, max(start - first, 0) : stop - first].astype(dtype, copy=False)
                factors = np.asarray(self.factors.get(name, np.ones(1)), dtype)
                np.multiply(held, factors[:, None], out=into)
            first = last
        return room

    def total(self) -> Vector:
        """Sum of the rows, float64 (dim,)."""
        return np.asarray(self.rows().sum(axis=0, dtype=np.float64))


class Pending(Protocol):
    """Rows that nobody has written out yet."""

    def rows(self) -> Rows:
        """The rows (clients, dim)."""
        ...

    def total(self) -> Vector:
        """Their sum (dim,), in float64 or int64."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Written:
    """Rows as a stage by itself left them."""

    held: Rows

    def rows(self) -> Rows:
        """These."""
        return self.held

    def total(self) -> Vector:
        """Their sum (dim,), in float64 or int64."""
        wide = np.int64 if self.held.dtype.kind == "i" else np.float64
        return np.asarray(self.held.sum(axis=0, dtype=wide))


class Fused(Unchanged, ABC):
    """Halves of a stage that takes rows before they are multiplied out."""

    @abstractmethod
    def fused(self, rows: Scaled, at: At) -> Pending:
        """Rows at the clients, with what this stage does still to come."""

    def up(self, rows: Rows, memory: Memory, at: At) -> tuple[Rows, Memory]:
        """At the clients, by itself."""
        return self.fused(Scaled.of(at.before, rows), at).rows(), memory


def lengths(part: Rows) -> Factors:
    """L2 norms of rows (clients,), to a relative 2e-6 for float32; they do not overflow."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = _squares(part)
        extreme = ~((squares > _SMALLEST) & (squares < np.inf))
        norms = np.sqrt(squares)
        if extreme.any():
            few = part[extreme].astype(np.float64)
            top = np.abs(few).max(axis=1, initial=0.0)
            few /= np.where(top > 0, top, 1.0)[:, None]
            norms[extreme] = top * np.sqrt(np.einsum("ij,ij->i", few, few))
    return np.asarray(norms)


def _squares(part: Rows) -> Factors:
    """Sums of squares, nearly always right."""
    if part.dtype != np.float32:
        return np.asarray(np.einsum("ij,ij->i", part, part, dtype=np.float64))
    whole = part.shape[1] // CHUNK * CHUNK
    chunks = part[:, :whole].reshape(len(part), -1, CHUNK)
    squares = np.einsum("ikj,ikj->ik", chunks, chunks).sum(axis=1, dtype=np.float64)
    rest = part[:, whole:]
    return np.asarray(squares + np.einsum("ij,ij->i", rest, rest))
