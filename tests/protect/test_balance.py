"""Balance: every tally weighs a fixed share of the update (McMahan et al. 2018, section 2)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError, Unsound
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.weigh import Weigh
from tests.protect.scene import TEAM, after, down, message, up


@given(st.floats(0.01, 10), st.floats(0.01, 100))
def test_every_tally_takes_its_share_of_the_sensitivity(share: float, norm: float) -> None:
    form = after(Clip(norm), Balance(share), form=message(metrics=True))
    update, weight, loss = form.blocks
    assert update.scale == 1.0
    for tally in (weight, loss):
        assert tally.scale * tally.bound.client == pytest.approx(share * norm)
    assert form.sensitivity("client") == pytest.approx(norm * math.sqrt(1 + 2 * share**2))


def test_one_tally_costs_four_percent_of_noise_by_default() -> None:
    form = after(Clip(1.0), Balance())
    assert form.sensitivity("client") == pytest.approx(1.044, abs=1e-3)
    assert "4.4 % more noise" in Balance().says(after(Clip(1.0)), form)


def test_a_share_of_what_one_record_changes() -> None:
    form = after(
        ClipExamples(2.0), Balance(0.5, "record"), form=message(one_step=True, metrics=True)
    )
    _, weight, loss = form.blocks
    assert weight.scale * 1.0 == pytest.approx(1.0)
    assert loss.scale * 10.0 == pytest.approx(1.0)
    assert form.sensitivity("record") == pytest.approx(math.sqrt(4 + 1 + 1))


def test_a_tally_that_a_unit_cannot_change_is_left_alone() -> None:
    """A record does not change the uniform weight of its client."""
    form = after(Clip(1.0), Balance(unit="record"))
    assert form.blocks[1].scale == 1.0


@given(st.floats(0.05, 5), st.integers(0, 2**32))
def test_what_goes_up_comes_down(share: float, seed: int) -> None:
    before = after(Clip(1.0), form=message(metrics=True))
    rows = np.random.default_rng(seed).normal(size=(3, before.size))
    scaled, _ = up(Balance(share), rows, before)
    assert np.array_equal(scaled[:, :6], rows[:, :6])
    assert not np.array_equal(scaled[:, 7], rows[:, 7])
    back = down(Balance(share), scaled.sum(axis=0), before)
    assert np.allclose(back, rows.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, -1.0, math.inf, math.nan])
def test_a_share_is_positive(share: float) -> None:
    with pytest.raises(TacitError, match="share"):
        Balance(share)


@pytest.mark.parametrize(
    ("stages", "code"),
    [
        ((Balance(),), "chain.unbounded"),
        ((Clip(1.0), Weigh(), Balance()), "chain.unbounded"),
        ((Clip(1.0), Balance(), Balance()), "chain.balance-twice"),
        ((Clip(1.0), Balance(), Weigh(5.0)), "chain.weigh-after-balance"),
    ],
)
def test_balance_needs_bounds_and_stands_last(stages: tuple[Balance, ...], code: str) -> None:
    with pytest.raises(Unsound) as refused:
        after(*stages)
    assert refused.value.code == code


def test_the_limit_of_a_coordinate_scales_with_it() -> None:
    before = after(Clip(1.0), form=message(metrics=True))
    assert before.limit() == 10.0
    assert Balance().after(before, TEAM).limit() == 1.0
