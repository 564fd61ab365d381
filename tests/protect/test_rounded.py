"""Rounding in pieces is rounding at once, and its sum is the sum of its rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.key import Key
from tacit.protect import rounded
from tacit.protect.dither import dithers
from tacit.protect.keys import Keys
from tacit.protect.rounded import Rounded
from tacit.protect.scaled import Scaled

KEYS = Keys.below(Key.seed(2), (3, 1, 4))


def of(reach: float, size: int, kind: str = "f8") -> Rounded:
    rows = np.random.default_rng(size).uniform(-reach, reach, (3, size)).astype(kind)
    return Rounded(Scaled({"update": rows[:, :-2], "weight": rows[:, -2:]}, {}), 1.0, KEYS)


def formula(held: Rounded) -> np.ndarray:
    """floor(x + u), with both in multiples of 2^-16."""
    rows = held.exact.rows().astype(np.float64)
    dither = next(dithers(KEYS, rows.shape[1], 64)) / 2**16
    return np.floor(np.rint(rows * 2**16) / 2**16 + dither)


@given(st.floats(0.01, 1e9), st.integers(3, 60), st.sampled_from(["f4", "f8"]))
def test_rounding_is_the_formula(reach: float, size: int, kind: str) -> None:
    held = of(reach, size, kind)
    assert held.rows().dtype == held.total().dtype == np.int64
    assert (held.rows() == formula(held)).all()
    assert (held.total() == held.rows().sum(axis=0)).all()


@pytest.mark.parametrize("piece", [1, 13, 24, 10_000])
@pytest.mark.parametrize("reach", [10.0, 1e6])
def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch, piece: int, reach: float) -> None:
    whole = of(reach, 50).rows()
    monkeypatch.setattr(rounded, "PIECE", piece)
    assert (of(reach, 50).rows() == whole).all()
    assert (of(reach, 50).total() == whole.sum(axis=0)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_rounded(bad: float) -> None:
    rows = np.zeros((3, 9))
    rows[1, 4] = bad
    for factors in ({}, {"update": np.zeros(3)}):
        with pytest.raises(FloatingPointError):
            Rounded(Scaled({"update": rows}, factors), 1.0, KEYS).total()


@pytest.mark.parametrize("clients", [2**16 - 1, 2**16])
def test_the_largest_sum_of_narrow_numbers_does_not_wrap(clients: int) -> None:
    rows = np.full((clients, 1), -(2.0**15) + 1)
    keys = Keys.of((Key.seed(0),) * clients)
    total = Rounded(Scaled({"update": rows}, {}), 1.0, keys).total()
    assert total.tolist() == [-clients * (2**15 - 1)]
