"""The joint sensitivity is the root of the sum of squares of scaled bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.vector import Block, Bound, Kind
from tacit.protect.form import Form, Noise, Team
from tests.protect.scene import message

sizes = st.floats(1e-3, 1e3)


@st.composite
def forms(draw: st.DrawFn) -> Form:
    blocks = tuple(
        Block(f"b{i}", draw(st.integers(1, 9)), Kind.TALLY, Bound(draw(sizes), draw(sizes)), 1.0,
              draw(sizes))
        for i in range(draw(st.integers(1, 5)))
    )  # fmt: skip
    return Form(blocks)


@given(forms())
def test_sensitivity_is_the_length_of_the_scaled_bounds(form: Form) -> None:
    for unit in ("record", "client"):
        squares = [(b.scale * getattr(b.bound, unit)) ** 2 for b in form.blocks]
        assert form.sensitivity(unit) == pytest.approx(math.sqrt(sum(squares)))


@given(forms(), sizes)
def test_a_grid_adds_one_step_a_coordinate(form: Form, step: float) -> None:
    rounded = replace(form, step=step)
    expected = form.sensitivity("client") / step + math.sqrt(form.size)
    assert rounded.sensitivity("client") == pytest.approx(expected)


def test_one_unbounded_block_unbounds_the_message() -> None:
    assert math.isinf(message().sensitivity("client"))
    assert math.isinf(message().sensitivity("record"))


def test_spans_follow_the_blocks() -> None:
    form = message(buffers=2, metrics=True)
    assert form.size == 10
    assert list(form.spans.values()) == [slice(0, 6), slice(6, 8), slice(8, 9), slice(9, 10)]
    assert [b.name for b in form.of(Kind.TALLY, Kind.BUFFER)] == ["buffers", "weight", "loss"]


def test_the_limit_is_that_of_the_largest_coordinate() -> None:
    form = Form(
        (Block("a", 1, Kind.TALLY, Bound(), 3.0, 2.0), Block("b", 1, Kind.TALLY, Bound(), 5.0))
    )
    assert form.limit() == 6.0
    assert replace(form, step=4.0).limit() == 3.0


def test_shares_of_noise_add_up() -> None:
    noise = Noise("gaussian", "share", "client", sd=2.0, sensitivity=8.0, shares=9)
    assert noise.multiplier == 0.75


def test_the_honest_are_the_quorum_without_accomplices() -> None:
    assert Team(10, 8, 5, 2, rounds=1).honest == 3
