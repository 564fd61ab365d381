"""The discrete Gaussian as noise: its law, and that these tests fail for another one."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from tacit.base.errors import Unsound
from tacit.base.key import Key
from tacit.protect.discrete_gaussian import (
    LARGEST_SIGMA,
    _settled,
    _table,
    draw,
    total_variation,
)
from tests.protect.exact import Array, exact_probabilities, probabilities, variance

DRAWS = 200_000
ALARM = 1e-6
"""A right law is refused this rarely, and the seeds are fixed."""


def fits(found: Array, sigma: float) -> bool:
    """Pearson's chi-square of draws against the law; rare values share the two end bins."""
    reach = max(1, round(3 * sigma))
    expected = probabilities(sigma, math.ceil(12 * sigma) + 3)
    middle = len(expected) // 2
    bins = expected[middle - reach : middle + reach + 1].copy()
    bins[[0, -1]] += expected[: middle - reach].sum()
    counts = np.bincount(np.clip(found, -reach, reach) + reach, minlength=2 * reach + 1)
    kept = bins * len(found) > 5
    statistic = ((counts - bins * len(found)) ** 2 / (bins * len(found)))[kept].sum()
    return bool(statistic < chi2.ppf(1 - ALARM, kept.sum() - 1) and not counts[bins == 0].any())


@pytest.mark.parametrize("sigma", [0.4, 0.5, 1.0, 2.0, 7.3, 60.0])
def test_draws_follow_the_law(sigma: float) -> None:
    assert fits(draw(Key.seed(11), sigma, DRAWS), sigma)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 7.3, 60.0])
@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_the_same_test_fails_for_a_sigma_five_percent_off(sigma: float, wrong: float) -> None:
    assert not fits(draw(Key.seed(11), sigma * wrong, DRAWS), sigma)


def test_the_same_test_fails_for_rounded_normals() -> None:
    """Rounding a continuous Gaussian gives 1/12 too much variance: another law."""
    normals = np.random.default_rng(0).normal(0, 1.0, DRAWS)
    assert not fits(np.rint(normals).astype(np.int64), 1.0)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.8, 2.0, 10.0, 500.0])
def test_variance_is_that_of_the_series(sigma: float) -> None:
    found = draw(Key.seed(3), sigma, DRAWS)
    expected = variance(sigma)
    spread = math.sqrt(3 / DRAWS) * max(expected, math.sqrt(expected))
    assert abs(np.mean(found.astype(float) ** 2) - expected) < 5 * spread
    assert abs(np.mean(found)) < 5 * math.sqrt(expected / DRAWS)


def thresholds(sigma: float) -> list[int]:
    """The table as whole numbers of 128 bits."""
    table = _table(sigma)
    return [(int(a) << 64) + int(b) for a, b in zip(table.upper, table.lower, strict=True)]


def distance(sigma: float, from_sigma: float) -> Fraction:
    """Total variation between the table's law, in steps of 2^-128, and the one of `from_sigma`."""
    edges = [0, *thresholds(sigma), 2**128]
    first = _table(sigma).first
    law = exact_probabilities(from_sigma, math.ceil(35 * from_sigma) + 3)
    inside = sum(
        (
            abs(Fraction(b - a, 2**128) - law[abs(first + i)])
            for i, (a, b) in enumerate(itertools.pairwise(edges))
        ),
        Fraction(0),
    )
    return (inside + 2 * sum(law[-first + 1 :])) / 2


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.7, 12.0])
def test_a_draw_is_within_its_total_variation_of_the_law(sigma: float) -> None:
    """The law is known to 120 digits; nothing here is computed in floating point."""
    assert distance(sigma, sigma) <= Fraction(total_variation(sigma))


def test_a_table_for_another_sigma_is_far_from_the_law() -> None:
    """The partner: one part in 10^12 of sigma is far more than the allowed distance."""
    assert distance(2.0 * (1 + 1e-12), 2.0) > 10**20 * Fraction(total_variation(2.0))


@pytest.mark.parametrize("sigma", [0.3, 2.0, 9.0])
def test_ties_are_settled_by_the_lower_bits(sigma: float) -> None:
    """A number equal to a threshold lies behind it, the number before it does not."""
    table = _table(sigma)
    for place, threshold in enumerate(thresholds(sigma)[:-1]):
        if not 0 < threshold < thresholds(sigma)[place + 1]:
            continue
        numbers = [threshold, threshold - 1]
        upper, lower = (np.array([f(n) for n in numbers], np.uint64) for f in (_high, _low))
        assert _settled(table, upper, lower) == [place + 1, place]


def _high(number: int) -> int:
    return number >> 64


def _low(number: int) -> int:
    return number % 2**64


GOLDEN = {
    0.5: [0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 0],
    3.0: [-1, 1, 7, 4, -3, -4, -2, -3, -1, -2, 0, -3],
    1000.0: [-212, 245, 2272, 1196, -1139, -1250, -722, -1013, -376, -569, 159, -1147],
}


@pytest.mark.parametrize("sigma", GOLDEN)
def test_seeded_draws_never_change(sigma: float) -> None:
    """Rehearsals and recorded runs repeat bit for bit."""
    assert draw(Key.seed(7) / "noise", sigma, 12).tolist() == GOLDEN[sigma]


def test_a_fresh_key_never_repeats_itself() -> None:
    key = Key.fresh()
    draws = [draw(key, 100.0, 64), draw(key, 100.0, 64), draw(Key.fresh(), 100.0, 64)]
    assert len({found.tobytes() for found in draws}) == 3


def test_different_seeds_give_independent_noise() -> None:
    size = 40_000
    one, other = (draw(Key.seed(s), 50.0, size).astype(float) for s in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(size)
    again = draw(Key.seed(1), 50.0, size).astype(float)
    assert np.corrcoef(one, again)[0, 1] == pytest.approx(1.0)


def test_a_very_narrow_law_is_zero() -> None:
    assert not draw(Key.seed(1), 0.01, 10_000).any()


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, LARGEST_SIGMA * 1.01])
def test_sigma_out_of_range_is_refused(sigma: float) -> None:
    with pytest.raises(Unsound) as refused:
        draw(Key.seed(1), sigma, 1)
    assert refused.value.code == "chain.sigma-range"


def test_the_price_of_the_table_stays_small() -> None:
    assert 10**12 * total_variation(LARGEST_SIGMA) < 1e-18


@given(st.floats(0.05, 40.0))
def test_tables_are_ordered_and_symmetric(sigma: float) -> None:
    steps = thresholds(sigma)
    assert _table(sigma).first == -len(steps) // 2
    assert steps == sorted(steps)
    mirrored = [2**128 - t for t in reversed(steps)]
    assert all(abs(a - b) <= 1 for a, b in zip(steps, mirrored, strict=True))
