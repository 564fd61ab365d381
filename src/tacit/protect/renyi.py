"""Renyi divergences of the mechanisms, as functions of the order; composition adds them.

Conversion to (epsilon, delta) is left to the accountant (`tacit.plan.accounting`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

Curve = Callable[[float], float]
"""Renyi divergence bound at an order alpha > 1."""


def discrete_gaussian_sum(sd: float, sensitivity: float, shares: int, size: int) -> Curve:
    """A sum of `shares` discrete Gaussians of parameter `sd` each, on `size` coordinates.

    Kairouz, Liu, Steinke, ICML 2021, Proposition 14 (for sd >= 1/2, whole-number shifts of norm
    at most D): min(a D^2/(2 n s^2) + t d, (a/2) (D/(sqrt(n) s) + t sqrt(d))^2) at order a, where
    t = 10 sum_{0<k<n} exp(-2 pi^2 s^2 k/(k+1)); every term but the first is bounded by the second.
    """
    first, second = (math.exp(-2 * (math.pi * sd) ** 2 * part) for part in (1 / 2, 2 / 3))
    gap = 10 * (first + (shares - 2) * second) if shares > 1 else 0.0
    ratio = sensitivity / (math.sqrt(shares) * sd)
    return lambda order: min(
        order * ratio**2 / 2 + gap * size, order / 2 * (ratio + gap * math.sqrt(size)) ** 2
    )


def gaussian(sd: float, sensitivity: float) -> Curve:
    """alpha D^2 / (2 sd^2); Mironov 2017, "Renyi Differential Privacy", Proposition 7."""
    return lambda order: order * (sensitivity / sd) ** 2 / 2


def poisson_sampled(curve: Curve, rate: float) -> Curve:
    """Amplification by Poisson sampling, at whole orders from 2, for symmetric noise.

    With p the mechanism without the unit and p' with it, the moment of (1-q) p + q p' against p
    expands binomially: sum_l C(a,l) (1-q)^(a-l) q^l e^((l-1) r(l)). The opposite direction is no
    larger when an involution swaps p and p' (Mironov, Talwar, Zhang 2019, "Renyi Differential
    Privacy of the Sampled Gaussian Mechanism", Theorem 5): for noise symmetric about zero and a
    shift s it is x -> s - x, on the whole numbers too. Randomised rounding is covered by joint
    quasi-convexity over its dither. See docs/design/0004-sampling-on-the-grid.md.
    """
    if rate == 1.0:
        return curve

    def sampled(order: float) -> float:
        whole = int(order)
        if whole != order or whole < 2:
            return math.inf
        logs = [(whole - 1) * math.log1p(-rate) + math.log1p((whole - 1) * rate)]
        stay, join = math.log1p(-rate), math.log(rate)
        for term, ways in enumerate(_log_binomials(whole)[2:], start=2):
            logs.append(ways + (whole - term) * stay + term * join + (term - 1) * curve(term))
        top = max(logs)
        return (top + math.log(sum(math.exp(one - top) for one in logs))) / (whole - 1)

    return sampled


@functools.cache
def _log_binomials(order: int) -> tuple[float, ...]:
    """Logarithms of the binomial coefficients of `order`."""
    return tuple(math.log(math.comb(order, term)) for term in range(order + 1))
