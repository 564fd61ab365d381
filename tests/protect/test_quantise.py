"""Randomised rounding: to whole steps, never a step away, right on average."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError, Unsound
from tacit.base.key import Key
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.form import Form
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.stage import At
from tacit.protect.weigh import Weigh
from tests.protect.scene import TEAM, after, down, message, up

BEFORE = after(Clip(1.0))

ONE = np.ones(1, np.int64)


def step(levels: int, form: Form = BEFORE) -> float:
    return Quantise(levels).after(form, TEAM).step


@given(st.integers(1, 10**6), st.integers(0, 2**32))
def test_a_decoded_number_is_less_than_a_step_away(levels: int, seed: int) -> None:
    rows = np.random.default_rng(seed).uniform(-1, 1, (3, 7))
    whole, _ = up(Quantise(levels), rows, BEFORE, seed=seed)
    assert whole.dtype == np.int64
    for row, exact in zip(whole, rows, strict=True):
        found = down(Quantise(levels), row, BEFORE)
        assert (np.abs(found - exact) < step(levels)).all()


@given(st.integers(2**14, 2**20), st.integers(0, 2**32), st.sampled_from(["f4", "f8"]))
def test_wide_and_narrow_rows_are_rounded_alike(levels: int, seed: int, kind: str) -> None:
    """Whole numbers of 32 bits hold small rows only; a large one beside it changes nothing."""
    rows = np.random.default_rng(seed).uniform(-0.01, 0.01, (2, 7)).astype(kind)
    narrow, _ = up(Quantise(levels), rows, BEFORE, seed=seed)
    rows[1] = 50.0
    wide, _ = up(Quantise(levels), rows, BEFORE, seed=seed)
    assert np.array_equal(narrow[0], wide[0])
    assert np.allclose(wide[1] * step(levels), 50.0, rtol=1e-4)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_a_row_alone_is_rounded_as_in_a_block(kind: str) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (4, 7)).astype(kind)
    whole, _ = up(Quantise(1000), rows, BEFORE)
    for place, row in enumerate(rows):
        at = At(BEFORE, Quantise(1000).after(BEFORE, TEAM), (Key.seed(0) / place,), ONE)
        assert np.array_equal(Quantise(1000).up(row[None, :], None, at)[0][0], whole[place])


def test_the_finest_grid_does_not_overflow() -> None:
    fine = 2**50
    rows = np.array([[1.0, -1.0, 0.5, -0.25, 1e-9, 0.0, 1.0]])
    whole, _ = up(Quantise(fine), rows, BEFORE)
    assert np.abs(whole[0] * step(fine) - rows[0]).max() < step(fine) * (1 + 1e-9)


@given(st.integers(1, 1000), st.integers(-1000, 1000))
def test_whole_numbers_of_steps_stay_as_they_are(levels: int, multiple: int) -> None:
    exact = np.full((1, 7), multiple * step(levels))
    whole, _ = up(Quantise(levels), exact, BEFORE)
    assert (whole == multiple).all()
    zero, _ = up(Quantise(levels), np.zeros((1, 7)), BEFORE)
    assert not zero.any()


def mean_error(bias: float = 0.0) -> float:
    """Mean of many roundings of many numbers, in standard errors from the numbers themselves."""
    rows = np.tile(np.random.default_rng(3).uniform(-1, 1, (1, 7)), (4000, 1))
    whole, _ = up(Quantise(3), rows + bias * step(3), BEFORE)
    errors = (whole * step(3) - rows) / step(3)
    parts = np.mod(rows / step(3), 1)
    spread = math.sqrt(float((parts * (1 - parts)).sum()))
    return abs(float(errors.sum())) / spread


def test_rounding_is_right_on_average() -> None:
    assert mean_error() < 5


def test_the_same_test_fails_for_a_bias_of_five_percent_of_a_step() -> None:
    assert mean_error(0.05) > 5


def test_rounding_differs_between_clients_and_keys() -> None:
    rows = np.full((2, 7), 0.3)
    (one, other), _ = up(Quantise(2), rows, BEFORE, seed=1)
    again, _ = up(Quantise(2), rows, BEFORE, seed=1)
    assert not np.array_equal(one, other)
    assert np.array_equal(again, [one, other])


@pytest.mark.parametrize("levels", [1, 7, 1000])
def test_levels_are_steps_in_one_bound(levels: int) -> None:
    """The bound of a client is `levels` steps; rounding adds sqrt(size) of them."""
    assert BEFORE.sensitivity("client") / step(levels) == pytest.approx(levels)
    rounded = Quantise(levels).after(BEFORE, TEAM)
    assert rounded.sensitivity("client") == pytest.approx(levels + math.sqrt(7))


def test_by_default_rounding_costs_one_percent() -> None:
    rounded = Quantise().after(BEFORE, TEAM)
    cost = rounded.sensitivity("client") * rounded.step / BEFORE.sensitivity("client")
    assert cost == pytest.approx(1.01, abs=1e-4)


def test_a_sum_over_records_is_rounded_by_what_one_record_changes() -> None:
    records = after(ClipExamples(2.0, most=50), form=message(one_step=True))
    rounded = Quantise(100).after(records, TEAM)
    assert records.sensitivity("record") / rounded.step == pytest.approx(100)
    assert rounded.sensitivity("record") == pytest.approx(100 + math.sqrt(7))


@given(st.integers(1, 500), st.integers(0, 2**32), st.booleans())
def test_two_rows_under_one_dither_part_by_less_than_claimed(
    levels: int, seed: int, extreme: bool
) -> None:
    """Coupled dither: each coordinate moves by less than one step more than it would."""
    rng = np.random.default_rng(seed)
    rows = rng.choice([-1.0, 1.0], (2, 7)) if extreme else rng.uniform(-1, 1, (2, 7))
    one, _ = up(Quantise(levels), rows[:1], BEFORE, seed=seed)
    other, _ = up(Quantise(levels), rows[1:], BEFORE, seed=seed)
    apart = np.linalg.norm(rows[0] - rows[1]) / step(levels)
    assert np.linalg.norm(one - other) <= apart + math.sqrt(7)


def test_a_rounded_coordinate_keeps_its_limit() -> None:
    form = Quantise(9).after(BEFORE, TEAM)
    for extreme in (1.0, -1.0):
        for seed in range(50):
            whole, _ = up(Quantise(9), np.full((1, 7), extreme), BEFORE, seed=seed)
            assert np.abs(whole).max() <= form.limit()


def test_what_is_scaled_is_rounded_as_scaled() -> None:
    """Tallies get the same grid as the update once balance has made them comparable."""
    form = after(Clip(1.0), Balance(), form=message(metrics=True))
    assert step(50, form) == pytest.approx(form.sensitivity("client") / 50)


@pytest.mark.parametrize(
    ("form", "stage", "code"),
    [
        (message(), Quantise(), "chain.round-unbounded"),
        (after(Clip(1.0), Weigh()), Quantise(), "chain.round-unbounded"),
        (after(Clip(1.0), form=message(buffers=2)), Quantise(), "chain.round-unbounded"),
        (after(Clip(1.0), Quantise()), Quantise(), "chain.after-rounding"),
        (after(Clip(1.0), Gaussian("local", "client", 1.0)), Quantise(), "chain.round-after-noise"),
        (BEFORE, Quantise(2**53), "chain.round-too-fine"),
    ],
)
def test_what_cannot_be_rounded_is_refused(form: Form, stage: Quantise, code: str) -> None:
    with pytest.raises(Unsound) as refused:
        stage.after(form, TEAM)
    assert refused.value.code == code


def test_levels_are_not_negative() -> None:
    with pytest.raises(TacitError, match="levels"):
        Quantise(-1)


def test_rounding_speaks_plainly() -> None:
    form = Quantise(10).after(BEFORE, TEAM)
    said = Quantise(10).says(BEFORE, form)
    assert said == f"Numbers are rounded at random to whole multiples of {form.step:.3g}."
