"""Top-k with error feedback: Stich et al. 2018, Algorithm 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.base.errors import TacitError, Unsound
from tacit.protect.clip import Clip
from tacit.protect.noise import Gaussian
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh
from tests.protect.scene import TEAM, after, message, up

numbers = st.floats(-1e6, 1e6)
rows_of_seven = hnp.arrays(np.float64, (3, 7), elements=numbers)
memories = hnp.arrays(np.float64, (3, 6), elements=numbers)
fractions = st.sampled_from([0.01, 1 / 6, 0.5, 0.7, 1.0])


@given(rows_of_seven, st.none() | memories, fractions)
def test_nothing_is_lost(rows: np.ndarray, memory: np.ndarray | None, fraction: float) -> None:
    """sent + new memory == update + old memory, to the last bit; there is none at first."""
    sent, kept = up(TopK(fraction), rows, memory=memory)
    assert kept is not None
    assert np.array_equal(sent[:, :6] + kept, rows[:, :6] + (0.0 if memory is None else memory))
    assert np.array_equal(sent[:, 6], rows[:, 6])


@given(rows_of_seven, fractions)
def test_the_largest_are_sent(rows: np.ndarray, fraction: float) -> None:
    stage = TopK(fraction)
    sent, kept = up(stage, rows)
    assert kept is not None
    count = stage.after(message(), TEAM).kept
    assert count == max(1, int(np.ceil(fraction * 6)))
    assert ((sent[:, :6] != 0).sum(axis=1) <= count).all()
    largest = np.sort(np.abs(rows[:, :6]), axis=1)[:, -count:].sum(axis=1)
    assert np.allclose(np.abs(sent[:, :6]).sum(axis=1), largest, rtol=1e-12)


@given(rows_of_seven)
def test_everything_is_sent_in_the_end(rows: np.ndarray) -> None:
    """With nothing new to say, the memory drains in 1/fraction rounds."""
    total, memory = np.zeros((3, 6)), None
    for turn in range(6):
        sent, memory = up(TopK(1 / 6), rows if turn == 0 else 0 * rows, memory=memory)
        total += sent[:, :6]
    assert np.array_equal(total, rows[:, :6])
    assert memory is not None
    assert not memory.any()


@given(rows_of_seven)
def test_without_feedback_the_rest_is_dropped(rows: np.ndarray) -> None:
    sent, memory = up(TopK(0.5, feedback=False), rows)
    assert memory is None
    assert np.array_equal(sent[:, :6], np.where(sent[:, :6] != 0, rows[:, :6], 0.0))


def test_rows_and_memory_are_not_changed_in_place() -> None:
    rows, memory = np.arange(7.0)[None, :], np.ones((1, 6))
    up(TopK(0.5), rows, memory=memory)
    assert np.array_equal(rows, np.arange(7.0)[None, :])
    assert np.array_equal(memory, np.ones((1, 6)))


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.1])
def test_a_fraction_is_a_fraction(fraction: float) -> None:
    with pytest.raises(TacitError, match="fraction"):
        TopK(fraction)


def test_the_facts_behind_it() -> None:
    assert after(TopK(0.5)).memory
    assert not after(TopK(0.5, feedback=False)).memory
    assert after(TopK(0.5)).kept == 3


@pytest.mark.parametrize(
    ("stages", "code"),
    [
        ((TopK(0.5), TopK(0.5)), "chain.topk-twice"),
        ((Clip(1.0), TopK(0.5)), "chain.topk-after-clip"),
        ((Weigh(5.0), TopK(0.5)), "chain.topk-after-clip"),
        ((TopK(0.5), Clip(1.0), Gaussian("local", "record", 1.0)), "chain.noise-memory"),
    ],
)
def test_what_its_memory_would_break_is_refused(stages: tuple[TopK, ...], code: str) -> None:
    with pytest.raises(Unsound) as refused:
        after(*stages)
    assert refused.value.code == code


def test_whole_clients_may_be_protected_with_feedback() -> None:
    """Their bound holds in every round, whatever the memory holds."""
    form = after(TopK(0.5), Clip(1.0), Gaussian("local", "client", 1.0))
    assert form.noise is not None


def test_it_says_what_is_visible() -> None:
    form = message()
    said = TopK(0.5).says(form, TopK(0.5).after(form, TEAM))
    assert "the 3 largest of 6 coordinates (which ones they are is visible)" in said
    assert "remembers the rest" in said
    silent = TopK(0.5, feedback=False)
    assert silent.says(form, silent.after(form, TEAM)).endswith("drops the rest.")
