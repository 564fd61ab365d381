"""Clipping beside its formulas: McMahan et al. 2018, section 2; Abadi et al. 2016, Algorithm 1."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.base.errors import TacitError, Unsound
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.quantise import Quantise
from tacit.protect.topk import TopK
from tests.protect.scene import LAYERS, after, message, up

numbers = st.floats(-1e9, 1e9)
rows_of_seven = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(7)), elements=numbers)
norms = st.floats(1e-6, 1e6)


def lengths(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(rows[:, :6], axis=1))


@given(rows_of_seven, norms, st.booleans())
def test_no_update_is_longer_than_the_norm(rows: np.ndarray, norm: float, per_layer: bool) -> None:
    clipped, _ = up(Clip(norm, per_layer), rows)
    assert (lengths(clipped) <= norm).all()
    if per_layer:
        for part in np.split(clipped[:, :6], np.cumsum(LAYERS)[:-1], axis=1):
            assert (np.linalg.norm(part, axis=1) <= norm / math.sqrt(len(LAYERS))).all()


@given(rows_of_seven, norms)
def test_clipping_is_a_multiple_of_the_row(rows: np.ndarray, norm: float) -> None:
    clipped, _ = up(Clip(norm), rows)
    factors = np.minimum(1.0, norm * (1 - 1e-6) / np.maximum(lengths(rows), 1e-300))
    assert np.allclose(clipped[:, :6], rows[:, :6] * factors[:, None], rtol=1e-9, atol=1e-300)
    assert (clipped[:, 6] == rows[:, 6]).all()


@given(rows_of_seven, norms, st.booleans())
def test_clipping_twice_is_clipping_once(rows: np.ndarray, norm: float, per_layer: bool) -> None:
    once, _ = up(Clip(norm, per_layer), rows)
    twice, _ = up(Clip(norm, per_layer), once)
    assert np.allclose(once, twice, rtol=1e-12, atol=0)


def test_short_updates_are_untouched_and_rows_are_not_changed_in_place() -> None:
    rows = np.array([[0.1, 0.2, 0, 0, 0.3, 0, 1.0], [30.0, 0, 0, 40.0, 0, 0, 1.0]])
    kept = rows.copy()
    clipped, _ = up(Clip(1.0), rows)
    assert (rows == kept).all()
    assert (clipped[0] == rows[0]).all()
    assert clipped[1] == pytest.approx([0.6, 0, 0, 0.8, 0, 0, 1.0], rel=2e-6)


def test_floats_of_32_bits_never_exceed_the_norm_either() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 7)).astype(np.float32) * 50
    clipped, _ = up(Clip(1.0), rows)
    assert clipped.dtype == np.float32
    assert lengths(clipped.astype(np.float64)).max() <= 1.0


def test_a_huge_update_does_not_overflow() -> None:
    for huge in (1e150, 1e300):
        clipped, _ = up(Clip(1.0), np.full((1, 7), huge))
        assert lengths(clipped)[0] == pytest.approx(1.0, rel=2e-6)


@pytest.mark.parametrize("stage", [Clip(2.0), Clip(2.0, per_layer=True)])
def test_the_facts_behind_a_clip(stage: Clip) -> None:
    form = after(stage)
    update = form.blocks[0]
    assert (update.bound.client, update.bound.record, update.limit) == (2.0, 4.0, 2.0)
    assert form.sensitivity("client") == pytest.approx(math.hypot(2, 1))
    assert form.sensitivity("record") == 4.0
    assert form.clipped


@pytest.mark.parametrize("norm", [0.0, -1.0, math.inf, math.nan])
def test_a_norm_is_a_positive_number(norm: float) -> None:
    for stage in (Clip, ClipExamples):
        with pytest.raises(TacitError, match="positive number"):
            stage(norm)


@pytest.mark.parametrize("sample", [0.0, 1.5, -0.1])
def test_a_sample_is_a_rate(sample: float) -> None:
    with pytest.raises(TacitError, match="sample"):
        ClipExamples(1.0, sample)


def test_room_for_no_record_is_refused() -> None:
    with pytest.raises(TacitError, match="most"):
        ClipExamples(1.0, most=0)


def test_the_facts_behind_clipped_examples() -> None:
    form = after(ClipExamples(2.0, sample=0.3, most=10), form=message(one_step=True, metrics=True))
    update, weight, loss = form.blocks
    assert (update.bound.record, update.bound.client, update.limit) == (2.0, 20.0, 20.0)
    assert (weight.bound.record, weight.bound.client, weight.limit) == (1.0, 10.0, 10.0)
    assert loss.bound.record == 10.0
    assert form.sensitivity("record") == pytest.approx(math.sqrt(4 + 1 + 100))
    assert (form.rate, form.record_sum, form.weights) == (0.3, True, "records")


@given(rows_of_seven, rows_of_seven, st.integers(1, 50))
def test_room_for_records_brings_no_two_sums_apart(
    one: np.ndarray,
    other: np.ndarray,
    most: int,
) -> None:
    """A projection: what one record changes is not made larger by the limit."""
    count = min(len(one), len(other))
    stage, form = ClipExamples(2.0, most=most), message(one_step=True)
    near, far = (up(stage, rows[:count], form)[0] for rows in (one, other))
    apart = np.linalg.norm(one[:count] - other[:count], axis=1)
    assert (np.linalg.norm(near - far, axis=1) <= apart * (1 + 1e-9) + 1e-9).all()


@given(rows_of_seven, st.integers(1, 50))
def test_no_client_sends_more_than_its_room(rows: np.ndarray, most: int) -> None:
    """In L2, not only coordinate by coordinate: the bound of a whole client rests on it."""
    held, _ = up(ClipExamples(2.0, most=most), rows, message(one_step=True))
    assert (lengths(held) <= 2.0 * most).all()
    assert (held[:, 6] <= most).all()


def test_sums_within_the_room_are_untouched() -> None:
    rows = np.array([[3.0, 4.0, 0, 0, 0, 0, 7.0]])
    held, _ = up(ClipExamples(1.0, most=10), rows, message(one_step=True))
    assert (held == rows).all()


@pytest.mark.parametrize("feedback", [True, False])
def test_sparse_sums_over_records_are_refused(feedback: bool) -> None:
    """One record can change which coordinates are largest, far beyond its own norm."""
    with pytest.raises(Unsound) as refused:
        after(TopK(0.5, feedback), ClipExamples(1.0), form=message(one_step=True))
    assert refused.value.code == "chain.records-first"


def test_why_sparse_sums_over_records_are_refused() -> None:
    """The attack: a record of norm 0.02 moves the two largest-coordinate sums 14 apart."""
    rows = np.array([[10.0, 9.99, 0, 0, 0, 0, 1.0], [10.0, 10.01, 0, 0, 0, 0, 1.0]])
    sent, _ = up(TopK(1 / 6, feedback=False), rows)
    assert np.linalg.norm(sent[0] - sent[1]) > 14


def test_an_algorithm_with_memory_cannot_protect_records() -> None:
    with pytest.raises(Unsound) as refused:
        after(ClipExamples(1.0), form=replace(message(one_step=True), memory=True))
    assert refused.value.code == "chain.noise-memory"


def test_clips_speak_plainly() -> None:
    before = message(one_step=True)
    said = [
        stage.says(before, after(stage, form=before))
        for stage in (Clip(1.5), Clip(1.5, per_layer=True), ClipExamples(1.5, 0.2))
    ]
    assert said[0].startswith("Each client shortens its update to L2 norm 1.5 before")
    assert "1.06 for each of 2 layers" in said[1]
    assert "draws each record with probability 0.2" in said[2]


def test_a_clip_stands_before_rounding() -> None:
    with pytest.raises(Unsound) as refused:
        after(Clip(1.0), Quantise(), Clip(1.0))
    assert refused.value.code == "chain.after-rounding"
