"""The discrete Gaussian said again: probabilities by direct summation, no code of the package."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def probabilities(sigma: float, half: int) -> Array:
    """P(k) for k = -half..half, in floating point."""
    k = np.arange(-half, half + 1)
    weights = np.exp(-(k**2) / (2 * sigma**2))
    found: Array = weights / weights.sum()
    return found


def exact_probabilities(sigma: float, half: int) -> list[Fraction]:
    """P(k) for k = 0..half to 120 digits, each weight by its own exponential."""
    with localcontext() as context:
        context.prec = 120
        variance = Decimal(sigma) ** 2
        weights = [(-(Decimal(k) ** 2) / (2 * variance)).exp() for k in range(half + 1)]
        whole = weights[0] + 2 * sum(weights[1:])
        return [Fraction(weight / whole) for weight in weights]


def variance(sigma: float) -> float:
    """The variance by Poisson summation: sigma^2 - 8 pi^2 sigma^4 S2 / (1 + 2 S0).

    S_j sums n^j exp(-2 pi^2 sigma^2 n^2) over n >= 1, from the derivative of the logarithm of
    sqrt(2 pi) sigma (1 + 2 S0), the normalising constant.
    """
    terms = [(n, math.exp(-2 * (math.pi * sigma * n) ** 2)) for n in range(1, 200)]
    zeroth, second = sum(e for _, e in terms), sum(n * n * e for n, e in terms)
    return sigma**2 - 8 * math.pi**2 * sigma**4 * second / (1 + 2 * zeroth)


def sum_of(sigma: float, shares: int, half: int) -> Array:
    """Probabilities of a sum of independent draws around zero, as far as they exceed 1e-250."""
    one = probabilities(sigma, half)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    return total[total > 1e-250]


def pair(noise: Array, shift: int) -> tuple[Array, Array]:
    """The noise, and the noise moved by `shift`, on the whole numbers that both reach."""
    size = len(noise) - abs(shift)
    return noise[abs(shift) :][:size], noise[:size]


def renyi(p: Array, q: Array, order: float) -> float:
    """Renyi divergence of p from q, brute force, in logarithms."""
    logs = order * np.log(p) + (1 - order) * np.log(q)
    top = logs.max()
    return float((top + np.log(np.exp(logs - top).sum())) / (order - 1))
