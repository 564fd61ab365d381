"""The discrete Gaussian: P(k) proportional to exp(-k^2 / (2 sigma^2)) on whole numbers.

Canonne, Kamath, Steinke, NeurIPS 2020, "The Discrete Gaussian for Differential Privacy",
Definition 1. Drawn by inverting a table of 64-bit cumulative thresholds that is computed with 60
decimal digits, so a draw is within `total_variation` of the law; the privacy claim pays for that.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from tacit.base.errors import Unsound
from tacit.base.key import Key

LARGEST_SIGMA = 2.0**17
"""Beyond it the table would not be small; use a coarser grid."""

_REACH = 10.0
"""Standard deviations that the table covers: P(beyond) < 2^-74, less than one threshold step."""


def draw(key: Key, sigma: float, size: int) -> npt.NDArray[np.int64]:
    """`size` independent draws with parameter `sigma`, in whole numbers."""
    thresholds, first = _table(sigma)
    return np.searchsorted(thresholds, key.words(size), side="right").astype(np.int64) + first


def total_variation(sigma: float) -> float:
    """Upper bound on the distance of one draw from the exact law.

    Each threshold is off by less than one step of 2^-64; what lies beyond the table is less than
    one more.
    """
    return (2 * _half_width(sigma) + 2) * 2.0**-64


def _half_width(sigma: float) -> int:
    return math.ceil(_REACH * sigma) + 1


@functools.lru_cache(maxsize=16)
def _table(sigma: float) -> tuple[npt.NDArray[np.uint64], int]:
    """Thresholds t_k = floor(2^64 P(X <= k)) for k from -half to half - 1, and the first k."""
    if not 0 < sigma <= LARGEST_SIGMA:
        raise Unsound("chain.sigma-range", sigma=sigma, largest=LARGEST_SIGMA)
    half = _half_width(sigma)
    with localcontext() as context:
        context.prec = 60
        weights = _weights(sigma, half)
        scale = Decimal(2) ** 64 / (2 * sum(weights[1:]) + weights[0])
        largest = 2**64 - 1  # narrow laws reach 2^64 within 60 digits
        running, thresholds = Decimal(0), []
        for k in range(-half, half):
            running += weights[abs(k)]
            thresholds.append(min(int(running * scale), largest))
    table = np.array(thresholds, np.uint64)
    table.flags.writeable = False
    return table, -half


def _weights(sigma: float, half: int) -> list[Decimal]:
    """exp(-k^2 / (2 sigma^2)) for k = 0..half; each follows from the last by one ratio."""
    variance = Decimal(sigma) ** 2
    ratio, shrink = (Decimal(-1) / (2 * variance)).exp(), (Decimal(-1) / variance).exp()
    weights = [Decimal(1)]
    for _ in range(half):
        weights.append(weights[-1] * ratio)
        ratio *= shrink
    return weights
