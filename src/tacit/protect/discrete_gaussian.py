"""The discrete Gaussian: P(k) proportional to exp(-k^2 / (2 sigma^2)) on whole numbers.

Canonne, Kamath, Steinke, NeurIPS 2020, "The Discrete Gaussian for Differential Privacy",
Definition 1. Drawn by inverting a table of 128-bit cumulative thresholds that is computed with 60
decimal digits. The upper 64 bits nearly always decide; only where they tie are more drawn. So a
draw is within `total_variation` of the law; the privacy claim pays for that.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tacit.base.errors import Unsound
from tacit.base.key import Key

LARGEST_SIGMA = 2.0**17
"""Beyond it the table would not be small; use a coarser grid."""

_REACH = 13.5
"""Standard deviations that the table covers: P(beyond) < 2^-128, less than one threshold step."""

_WORD = 2**64


class _Table(NamedTuple):
    """floor(2^128 P(X <= k)) for k from `first` to -first - 1, as upper and lower 64 bits."""

    upper: npt.NDArray[np.uint64]
    lower: npt.NDArray[np.uint64]
    first: int


def draw(key: Key, sigma: float, size: int) -> npt.NDArray[np.int64]:
    """`size` independent draws with parameter `sigma`, in whole numbers."""
    table, words = _table(sigma), key.words(size)
    below = np.searchsorted(table.upper, words, side="right")
    tied = np.flatnonzero(table.upper[below - 1] == words)
    if tied.size:
        below[tied] = _settled(table, words[tied], (key / "tie").words(tied.size))
    return below.astype(np.int64) + table.first


def total_variation(sigma: float) -> float:
    """Upper bound on the distance of one draw from the exact law.

    Each threshold is off by less than one step of 2^-128; what lies beyond the table is less than
    one more.
    """
    return (2 * _half_width(sigma) + 2) * 2.0**-128


def _settled(
    table: _Table, upper: npt.NDArray[np.uint64], lower: npt.NDArray[np.uint64]
) -> list[int]:
    """How many thresholds are at most each 128-bit number."""
    found = []
    for high, low in zip(upper, lower, strict=True):
        start, stop = (int(np.searchsorted(table.upper, high, side)) for side in ("left", "right"))
        found.append(start + int(np.searchsorted(table.lower[start:stop], low, "right")))
    return found


def _half_width(sigma: float) -> int:
    return math.ceil(_REACH * sigma) + 1


@functools.lru_cache(maxsize=4)
def _table(sigma: float) -> _Table:
    if not 0 < sigma <= LARGEST_SIGMA:
        raise Unsound("chain.sigma-range", sigma=sigma, largest=LARGEST_SIGMA)
    half = _half_width(sigma)
    upper, lower = np.empty(2 * half, np.uint64), np.empty(2 * half, np.uint64)
    with localcontext() as context:
        context.prec = 60
        weights = _weights(sigma, half)
        scale = Decimal(_WORD) ** 2 / (2 * sum(weights[1:]) + weights[0])
        running = Decimal(0)
        for place, k in enumerate(range(-half, half)):
            running += weights[abs(k)]
            # Narrow laws reach 2^128 within 60 digits.
            upper[place], lower[place] = divmod(min(int(running * scale), _WORD**2 - 1), _WORD)
    upper.flags.writeable = lower.flags.writeable = False
    return _Table(upper, lower, -half)


def _weights(sigma: float, half: int) -> list[Decimal]:
    """exp(-k^2 / (2 sigma^2)) for k = 0..half; each follows from the last by one ratio."""
    variance = Decimal(sigma) ** 2
    ratio, shrink = (Decimal(-1) / (2 * variance)).exp(), (Decimal(-1) / variance).exp()
    weights = [Decimal(1)]
    for _ in range(half):
        weights.append(weights[-1] * ratio)
        ratio *= shrink
    return weights
