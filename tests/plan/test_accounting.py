"""Epsilons against published and independent numbers, and calibration from the safe side."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tacit.base.errors import Unsound
from tacit.plan.accounting import Event, calibrate, epsilon
from tacit.protect.discrete_gaussian import total_variation
from tests.protect.exact import probabilities

DELTA = 1e-5


def continuous(multiplier: float, rate: float = 1.0, count: int = 1) -> Event:
    return Event("gaussian", multiplier, 1.0, 1, 10, rate, count)


def discrete(multiplier: float, rate: float = 1.0, count: int = 1, draws: int = 0) -> Event:
    """Noise of one share, a thousand grid steps of sensitivity."""
    return Event("discrete_gaussian", 1000 * multiplier, 1000.0, 1, 10, rate, count, draws)


def test_sampled_gaussian_by_loss_distributions() -> None:
    """Poisson q = 0.01, sigma = 1, 1,000 steps: 1.8282 by a fine grid; coarser is larger."""
    found = epsilon(continuous(1.0, 0.01, 1000), DELTA)
    assert 1.8282 <= found <= 1.8282 * 1.001


def test_sampled_gaussian_by_renyi() -> None:
    """2.1014 with orders between whole numbers; whole ones cost a little more."""
    found = epsilon(discrete(1.0, 0.01, 1000), DELTA)
    assert 2.1014 <= found <= 2.1014 * 1.005


@pytest.mark.parametrize(("target", "sigma"), [(1.0, 1.4146), (2.0, 0.9591), (8.0, 0.5863)])
def test_calibrated_noise_of_the_literature(target: float, sigma: float) -> None:
    event = continuous(1.0, 0.01, 1000)
    assert calibrate(event, target, DELTA) == pytest.approx(sigma, rel=1e-3)


def exact_epsilon(sigma: float) -> float:
    """Balle and Wang 2018, Theorem 8, by bisection: one Gaussian mechanism, no sampling."""
    low, high = 0.0, 50.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        first = norm.cdf(1 / (2 * sigma) - middle * sigma)
        second = math.exp(middle) * norm.cdf(-1 / (2 * sigma) - middle * sigma)
        low, high = (middle, high) if first - second > DELTA else (low, middle)
    return high


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 10.0])
def test_one_gaussian_agrees_with_the_analytic_formula(sigma: float) -> None:
    assert epsilon(continuous(sigma), DELTA) == pytest.approx(exact_epsilon(sigma), abs=2e-3)
    many = epsilon(continuous(sigma * 4, count=16), DELTA)
    assert many == pytest.approx(exact_epsilon(sigma), abs=2e-2)


@pytest.mark.parametrize(("sd", "shift"), [(2.0, 1), (2.0, 3), (5.0, 2), (10.0, 5)])
def test_discrete_noise_spends_no_more_than_is_claimed(sd: float, shift: int) -> None:
    """Delta at the claimed epsilon by brute force (hockey-stick divergence) is at most delta."""
    found = epsilon(Event("discrete_gaussian", sd, shift, 1, 1, 1.0, 1), DELTA)
    law = probabilities(sd, math.ceil(30 * sd))
    p, q = law[shift:], law[:-shift]
    delta = np.maximum(p - math.exp(found) * q, 0).sum()
    assert delta <= DELTA


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_sampled_discrete_noise_spends_no_more_in_either_direction(rate: float) -> None:
    found = epsilon(Event("discrete_gaussian", 3.0, 3, 1, 1, rate, 1), DELTA)
    law = probabilities(3.0, 100)
    without, joined = law[3:], law[:-3]
    mixed = (1 - rate) * without + rate * joined
    for p, q in ((mixed, without), (without, mixed)):
        assert np.maximum(p - math.exp(found) * q, 0).sum() <= DELTA


multipliers, rates = st.floats(0.6, 20), st.floats(0.005, 0.9)


@settings(max_examples=8)
@given(multipliers, rates, st.integers(1, 400), st.sampled_from([continuous, discrete]))
def test_epsilon_falls_with_noise_and_rises_with_rounds_and_rate(
    multiplier: float, rate: float, count: int, law: Callable[[float, float, int], Event]
) -> None:
    found = epsilon(law(multiplier, rate, count), DELTA)
    slack = 1e-2 * found + 5e-3  # rounding of loss distributions to their grid
    assert epsilon(law(multiplier * 1.5, rate, count), DELTA) <= found + slack
    assert epsilon(law(multiplier, rate, 2 * count), DELTA) >= found - slack
    assert epsilon(law(multiplier, rate**0.5, count), DELTA) >= found - slack
    assert epsilon(law(multiplier, rate, count), DELTA / 100) >= found - slack


@settings(max_examples=15)
@given(st.floats(0.2, 30), rates, st.integers(1, 300), st.sampled_from([1e-5, 1e-8]))
def test_calibration_hits_its_target_from_the_safe_side(
    target: float, rate: float, count: int, delta: float
) -> None:
    event = discrete(3.0, rate, count, draws=10**6)
    factor = calibrate(event, target, delta)
    assert target * (1 - 1e-3) <= epsilon(event.scaled(factor), delta) <= target
    assert epsilon(event.scaled(factor * 0.998), delta) > target


@pytest.mark.parametrize("target", [0.5, 3.0])
def test_calibration_with_loss_distributions_is_safe_too(target: float) -> None:
    event = continuous(7.0, 0.1, 50)
    factor = calibrate(event, target, DELTA)
    assert target * (1 - 1e-3) <= epsilon(event.scaled(factor), DELTA) <= target


def test_calibration_does_not_depend_on_where_it_starts() -> None:
    found = [m * calibrate(discrete(m, 0.1, 50), 3.0, DELTA) for m in (0.004, 1.0, 100.0)]
    assert max(found) / min(found) < 1 + 1e-4


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(Unsound) as refused:
        calibrate(discrete(1.0, count=1000, draws=10**26), 1.0, 1e-9)
    assert refused.value.code == "privacy.unreachable"


def test_more_shares_count_as_more_noise() -> None:
    one = Event("discrete_gaussian", 400.0, 100.0, 1, 10, 1.0, 5)
    four = Event("discrete_gaussian", 200.0, 100.0, 4, 10, 1.0, 5)
    assert epsilon(one, DELTA) == pytest.approx(epsilon(four, DELTA))
    assert one.multiplier == four.multiplier == 4.0


def test_thin_noise_promises_nothing() -> None:
    assert math.isinf(epsilon(continuous(0.04), DELTA))
    assert epsilon(discrete(0.04), DELTA) > 300


@pytest.mark.parametrize("draws", [10**9, 10**26, 2 * 10**27])
def test_the_table_is_paid_for_at_the_epsilon_that_is_claimed(draws: int) -> None:
    """delta(epsilon) of the exact law plus (1 + e^epsilon) * distance is at most delta."""
    event = discrete(2.0, 0.1, 50, draws=draws)
    found = epsilon(event, DELTA)
    price = (1 + math.exp(found)) * draws * total_variation(event.sd)
    assert epsilon(discrete(2.0, 0.1, 50), DELTA - price) <= found


def test_the_price_of_the_table_rises_until_nothing_is_left() -> None:
    found = [epsilon(discrete(2.0, 0.1, 50, draws=10**n), DELTA) for n in (0, 25, 27, 30, 32)]
    assert all(a <= b for a, b in pairwise(found))
    assert math.isfinite(found[2])
    assert found[2] > found[0]
    assert math.isinf(found[-1])
