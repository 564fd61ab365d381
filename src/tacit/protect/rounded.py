"""Rows that are to be rounded at random, in pieces that fit a core's cache, or summed at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from tacit.base.vector import Rows, Vector
from tacit.protect.dither import BITS, PER_WORD, dithers
from tacit.protect.keys import Keys
from tacit.protect.scaled import Scaled

PIECE = 1 << 17
"""Coordinates that are rounded together: half a megabyte and their dither."""

_FINE = 1 << BITS
"""Parts of a step in which a number is read before it is rounded to whole ones."""

_NARROW = 2.0**31 - 2 * _FINE
"""Parts that 32 bits hold beside a dither, and what lengths may be off by."""


@final
@dataclass(frozen=True, eq=False)
class Rounded:
    """floor(x * by + u) with u uniform in [0, 1), one u a coordinate, from each row's key.

    Both are multiples of 2^-16, x * by by rounding to the nearest; so a number moves by less than a
    step, two under one u part by at most a step more, and no mean moves by more than 2^-17 steps.
    """

    exact: Scaled
    by: float
    keys: Keys

    def rows(self) -> Rows:
        """Whole numbers, int64 (clients, dim)."""
        found = np.empty(self.exact.shape, np.int64)
        for span, piece in self._pieces():
            found[:, span] = piece
        return found

    def total(self) -> Vector:
        """Their sum, int64 (dim,)."""
        found = np.empty(self.exact.shape[1], np.int64)
        for span, piece in self._pieces():
            found[span] = _added(piece)
        return found

    def _pieces(self) -> Iterator[tuple[slice, Rows]]:
        clients, size = self.exact.shape
        width = max(1, PIECE // max(1, clients) // PER_WORD) * PER_WORD
        parts = self.exact.times(self.exact.parts, np.full(clients, self.by * _FINE))
        reach = parts.reach()
        if not math.isfinite(reach):
            raise FloatingPointError("a number that is to be rounded is not finite")
        narrow = reach < _NARROW
        dither = dithers(self.keys, size, width)
        for start in range(0, size, width):
            span = slice(start, min(start + width, size))
            yield span, (_narrow if narrow else _wide)(parts.rows(span), next(dither))


def _narrow(parts: Rows, dither: npt.NDArray[np.uint16]) -> Rows:
    """Whole numbers (int32) from numbers of parts, which are overwritten."""
    whole = np.rint(parts, out=parts).astype(np.int32)
    whole += dither
    whole >>= BITS
    return whole


def _wide(parts: Rows, dither: npt.NDArray[np.uint16]) -> Rows:
    """The same for numbers of any size (int64)."""
    np.rint(parts, out=parts)
    steps = np.floor(parts / _FINE)
    up = (parts - steps * _FINE).astype(np.int64) + dither >= _FINE
    return np.asarray(steps.astype(np.int64) + up)


def _added(rows: Rows) -> Vector:
    """Sum of whole numbers: those of 32 bits are at most 2^15, so many fit in a sum."""
    narrow = rows.dtype == np.int32 and len(rows) < 1 << BITS
    return np.asarray(rows.sum(axis=0, dtype=np.int32 if narrow else np.int64))
