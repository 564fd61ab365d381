"""Weights beside their formulas: n, and min(n, cap) / cap (McMahan et al. 2017 and 2018)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.base.vector import Bound
from tacit.protect.clip import Clip
from tacit.protect.sum import Mean, PlainSum
from tacit.protect.weigh import Weigh
from tests.protect.scene import TEAM, after, down, message, up

counts = st.lists(st.integers(1, 10**6), min_size=1, max_size=5)


@given(counts, st.none() | st.floats(0.5, 1e5))
def test_weights_multiply_update_buffers_and_weight(examples: list[int], cap: float | None) -> None:
    form = message(buffers=2, metrics=True)
    rows = np.random.default_rng(0).normal(size=(len(examples), form.size))
    found, _ = up(Weigh(cap), rows, form, examples)
    weights = np.array([n if cap is None else min(n, cap) / cap for n in examples])
    assert (found[:, :9] == rows[:, :9] * weights[:, None]).all()
    assert (found[:, 9] == rows[:, 9]).all()


@given(counts)
def test_the_mean_is_weighted_by_records(examples: list[int]) -> None:
    rows = np.random.default_rng(1).normal(size=(len(examples), 7))
    rows[:, 6] = 1.0
    weighed, _ = up(Weigh(), rows, examples=examples)
    mean = down(Mean(), weighed.sum(axis=0), after(Weigh(), PlainSum()))
    expected = np.average(rows[:, :6], axis=0, weights=examples)
    assert np.allclose(mean[:6], expected, rtol=1e-9)


def test_a_cap_keeps_bounds_and_adds_what_one_record_weighs() -> None:
    form = after(Clip(2.0), Weigh(cap=10.0))
    update, weight = form.blocks
    assert update.bound == Bound(record=4.0 + 0.2, client=2.0)
    assert weight.bound == Bound(record=0.1, client=1.0)
    assert (form.weights, update.limit, weight.limit) == ("capped", 2.0, 1.0)


def test_without_a_cap_nothing_is_bounded() -> None:
    form = after(Clip(2.0), Weigh())
    assert math.isinf(form.sensitivity("client"))
    assert math.isinf(form.limit())
    assert form.weights == "examples"


@given(st.integers(1, 200), st.floats(0.5, 100), st.integers(0, 2**32))
def test_one_record_more_changes_no_more_than_the_bound(n: int, cap: float, seed: int) -> None:
    """Any two clipped updates of n and n + 1 records."""
    rng = np.random.default_rng(seed)
    pair = np.concatenate([rng.normal(size=(2, 6)) * 100, np.ones((2, 1))], axis=1)
    clipped, _ = up(Clip(1.0), pair)
    form = after(Clip(1.0))
    found, _ = up(Weigh(cap), clipped, form, [n, n + 1])
    assert np.linalg.norm(found[0] - found[1]) <= after(Clip(1.0), Weigh(cap)).sensitivity("record")


@pytest.mark.parametrize("cap", [0.0, -3.0, math.inf, math.nan])
def test_a_cap_is_a_positive_number(cap: float) -> None:
    with pytest.raises(TacitError, match="cap"):
        Weigh(cap)


def test_floats_of_32_bits_stay_so() -> None:
    found, _ = up(Weigh(7.0), np.ones((2, 7), np.float32), examples=[3, 9])
    assert found.dtype == np.float32
    assert found[1, 0] == 1.0


def test_weights_speak_plainly() -> None:
    form = message()
    assert Weigh().says(form, Weigh().after(form, TEAM)).endswith("number of records.")
    assert "at most 20" in Weigh(20).says(form, Weigh(20).after(form, TEAM))
