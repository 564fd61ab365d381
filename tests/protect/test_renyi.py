"""The Renyi bounds against divergences computed by brute force, in both directions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.protect import renyi
from tests.protect import exact

ULP = 1e-10
"""What summing in floating point may add."""


@pytest.mark.parametrize("sigma", [0.5, 0.6, 0.75, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_the_bound_on_sums_holds(sigma: float, shares: int) -> None:
    noise = exact.sum_of(sigma, shares, math.ceil(18 * sigma))
    for shift, order in product((1, 2, 3), (1.001, 1.5, 2, 3, 5)):
        true = exact.renyi(*exact.pair(noise, shift), order)
        bound = renyi.discrete_gaussian_sum(sigma, shift, shares, 1)(order)
        assert true <= bound + ULP, (shift, order)


@pytest.mark.parametrize("sigma", [2.0, 4.0])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_the_bound_on_sums_is_tight_for_wide_shares(sigma: float, shares: int) -> None:
    noise = exact.sum_of(sigma, shares, math.ceil(18 * sigma))
    for shift, order in product((1, 2, 3), (1.5, 2, 3, 5)):
        true = exact.renyi(*exact.pair(noise, shift), order)
        bound = renyi.discrete_gaussian_sum(sigma, shift, shares, 1)(order)
        assert true == pytest.approx(bound, rel=1e-7), (shift, order)


def test_thin_shares_are_not_a_gaussian() -> None:
    """Why the gap is there: shares of half a step lose to the continuous formula."""
    noise = exact.sum_of(0.5, 2, 12)
    true = exact.renyi(*exact.pair(noise, 1), 1.5)
    assert true > renyi.gaussian(math.sqrt(2) * 0.5, 1.0)(1.5) + 0.01


@pytest.mark.parametrize("shares", [2, 3, 7, 100, 20_000])
@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0, 5.0])
def test_the_gap_is_no_smaller_than_the_papers(sd: float, shares: int) -> None:
    """Kairouz, Liu, Steinke 2021, Proposition 14, term by term."""
    gap = 10 * math.fsum(math.exp(-2 * math.pi**2 * sd**2 * k / (k + 1)) for k in range(1, shares))
    ratio, size, order = 0.3 / (math.sqrt(shares) * sd), 50, 3.0
    paper = min(order * ratio**2 / 2 + gap * size, order / 2 * (ratio + gap * math.sqrt(size)) ** 2)
    found = renyi.discrete_gaussian_sum(sd, 0.3, shares, size)(order)
    assert found >= paper * (1 - 1e-12)
    assert found <= paper * 1.001 or sd < 2


def test_several_coordinates_add_up() -> None:
    """A shift in many coordinates: divergences add, and the L2 norm is all that matters."""
    noise = exact.sum_of(2.0, 3, 36)
    shifts = (3, 1, 0, 2)
    for order in (1.5, 2, 4):
        true = sum(exact.renyi(*exact.pair(noise, s), order) for s in shifts)
        norm = math.sqrt(sum(s * s for s in shifts))
        assert true <= renyi.discrete_gaussian_sum(2.0, norm, 3, 4)(order) + ULP


SAMPLED = list(product((0.01, 0.1, 0.5, 0.9), (0.7, 1.0, 2.0, 5.0), (1, 3), (2, 3, 4, 8, 16)))


def both_directions(noise: exact.Array, rate: float, shift: int, order: int) -> tuple[float, float]:
    """Divergences of the sampled mechanism with the unit from that without it, and back."""
    without, joined = exact.pair(noise, shift)
    mixed = (1 - rate) * without + rate * joined
    return exact.renyi(mixed, without, order), exact.renyi(without, mixed, order)


@pytest.mark.parametrize(("rate", "sigma", "shift", "order"), SAMPLED)
def test_the_sampled_bound_holds_in_both_directions(
    rate: float, sigma: float, shift: int, order: int
) -> None:
    """Mironov, Talwar, Zhang 2019, Theorem 5, on the whole numbers."""
    noise = exact.probabilities(sigma, math.ceil(36 * sigma))
    forth, back = both_directions(noise, rate, shift, order)
    curve = renyi.discrete_gaussian_sum(sigma, shift, 1, 1)
    bound = renyi.poisson_sampled(curve, rate)(order)
    assert max(forth, back) <= bound * (1 + 1e-9) + ULP
    assert back <= forth + ULP


@pytest.mark.parametrize(("rate", "shift", "order"), [(0.1, 1, 2), (0.1, 3, 8), (0.5, 2, 4)])
def test_the_sampled_bound_is_exact_for_wide_noise(rate: float, shift: int, order: int) -> None:
    noise = exact.probabilities(4.0, 140)
    forth, _ = both_directions(noise, rate, shift, order)
    curve = renyi.discrete_gaussian_sum(4.0, shift, 1, 1)
    assert renyi.poisson_sampled(curve, rate)(order) == pytest.approx(forth, rel=1e-9)


@pytest.mark.parametrize("shares", [2, 4])
def test_the_sampled_bound_holds_for_sums_of_shares(shares: int) -> None:
    noise = exact.sum_of(2.0, shares, 36)
    curve = renyi.discrete_gaussian_sum(2.0, 2, shares, 1)
    for rate, order in product((0.05, 0.5), (2, 5, 9)):
        bound = renyi.poisson_sampled(curve, rate)(order)
        assert max(both_directions(noise, rate, 2, order)) <= bound * (1 + 1e-9) + ULP


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (3, 0), (2, 2)])
def test_the_sampled_bound_holds_in_two_dimensions(across: int, down: int) -> None:
    """A grid has no rotational symmetry; the bound needs none, only a swap of the two laws."""
    noise = exact.probabilities(1.5, 30)
    (p0, p1), (r0, r1) = exact.pair(noise, across), exact.pair(noise, down)
    without, joined = np.outer(p0, r0).ravel(), np.outer(p1, r1).ravel()
    curve = renyi.discrete_gaussian_sum(1.5, math.hypot(across, down), 1, 2)
    for rate, order in product((0.05, 0.5), (2, 4, 8)):
        mixed = (1 - rate) * without + rate * joined
        bound = renyi.poisson_sampled(curve, rate)(order) * (1 + 1e-9) + ULP
        assert exact.renyi(mixed, without, order) <= bound
        assert exact.renyi(without, mixed, order) <= bound


def test_the_brute_force_catches_a_claim_of_linear_amplification() -> None:
    """The partner: `rate * divergence`, a tempting shortcut, is not a bound."""
    noise = exact.probabilities(0.7, 26)
    curve = renyi.discrete_gaussian_sum(0.7, 1, 1, 1)
    forth, _ = both_directions(noise, 0.01, 1, 16)
    assert forth > 0.01 * curve(16)


def mixtures_of_rounding(
    step: float, values: tuple[float, float]
) -> tuple[exact.Array, exact.Array]:
    """Laws of floor(x / step + u) + noise for two values x and one u, uniform on a fine grid."""
    noise = exact.probabilities(2.0, 60)
    dithers = (np.arange(1000) + 0.5) / 1000
    laws = []
    for value in values:
        whole = np.floor(value / step + dithers).astype(int)
        laws.append(np.mean([np.roll(noise, shift) for shift in whole], axis=0)[20:-20])
    return laws[0], laws[1]


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.3, 1.2), (0.5, -0.7), (2.4, 0.1)])
def test_rounding_at_random_is_covered_by_one_step_more(values: tuple[float, float]) -> None:
    """Coupled dither: the law of a rounded value is a mixture of shifts by less than |x-y| + 1."""
    one, other = mixtures_of_rounding(1.0, values)
    sensitivity = abs(values[0] - values[1]) + 1
    curve = renyi.discrete_gaussian_sum(2.0, sensitivity, 1, 1)
    for order in (2, 4, 8):
        assert exact.renyi(one, other, order) <= curve(order)
        for rate in (0.05, 0.5):
            mixed = (1 - rate) * one + rate * other
            bound = renyi.poisson_sampled(curve, rate)(order)
            assert exact.renyi(mixed, one, order) <= bound
            assert exact.renyi(one, mixed, order) <= bound


@given(st.floats(0.001, 0.99), st.floats(0.3, 20), st.sampled_from([2, 3, 7, 32, 128]))
def test_sampling_never_costs(rate: float, sd: float, order: int) -> None:
    curve = renyi.gaussian(sd, 1.0)
    sampled = renyi.poisson_sampled(curve, rate)
    assert -1e-12 <= sampled(order) <= curve(order) * (1 + 1e-9)
    assert sampled(order) <= renyi.poisson_sampled(curve, min(0.999, 1.1 * rate))(order) + 1e-12


def test_everybody_drawn_is_no_amplification() -> None:
    curve = renyi.gaussian(1.0, 1.0)
    assert renyi.poisson_sampled(curve, 1.0) is curve


@pytest.mark.parametrize("order", [1.5, 2.5, 1.0])
def test_orders_between_whole_numbers_claim_nothing(order: float) -> None:
    assert renyi.poisson_sampled(renyi.gaussian(1.0, 1.0), 0.5)(order) == math.inf
