"""Factors that are put off: the rows are those of stage after stage, and lengths are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.vector import Rows
from tacit.protect.clip import factors
from tacit.protect.scaled import Scaled, Written, lengths
from tests.protect.scene import message

FORM = message(buffers=2)


def rows_of(seed: int, clients: int, size: int, kind: str = "float64") -> Rows:
    rows: Rows = np.random.default_rng(seed).normal(size=(clients, size)).astype(kind)
    return rows


@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from(["float32", "float64"]))
def test_factors_multiply_their_blocks(seed: int, clients: int, kind: str) -> None:
    rows = rows_of(seed, clients, FORM.size, kind)
    one, two = np.abs(rows_of(seed + 1, 2, clients))
    held = Scaled.of(FORM, rows).times(["update", "weight"], one).times(["update"], two)
    found, expected = held.rows(), rows.astype(np.float64)
    expected[:, FORM.spans["update"]] *= (one * two)[:, None]
    expected[:, FORM.spans["weight"]] *= one[:, None]
    assert found.dtype == kind
    assert np.allclose(found, expected, rtol=1e-6)
    norms = np.linalg.norm(expected[:, FORM.spans["update"]], axis=1)
    assert np.allclose(held.lengths("update"), norms, rtol=1e-5)


def test_rows_without_factors_are_copied() -> None:
    rows = rows_of(0, 3, FORM.size)
    found = Scaled.of(FORM, rows).rows()
    assert (found == rows).all()
    assert not np.shares_memory(found, rows)


def test_a_block_is_replaced_with_its_factor() -> None:
    rows = rows_of(0, 2, FORM.size)
    held = Scaled.of(FORM, rows).times(["update"], np.array([2.0, 3.0]))
    part = held.block("update")
    assert (part == rows[:, :6] * [[2.0], [3.0]]).all()
    assert (held.replaced("update", part).rows()[:, :6] == part).all()


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 1024, 5000])
def test_lengths_do_not_depend_on_the_block(size: int, kind: str) -> None:
    """Bit for bit, or a client would round otherwise at home than in a simulation."""
    rows = rows_of(1, 5, size + 3, kind)
    rows[2] *= 1e-15
    together = lengths(rows[:, :size])
    alone = [lengths(np.ascontiguousarray(row[:size])[None, :])[0] for row in rows]
    assert together.tolist() == alone
    exact = np.linalg.norm(rows[:, :size].astype(np.float64), axis=1)
    assert np.allclose(together, exact, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_lengths_of_tiny_and_huge_numbers_of_32_bits(size: float) -> None:
    rows = np.full((2, 2000), size, np.float32)
    rows[1] = 0
    assert lengths(rows) == pytest.approx([size * 2000**0.5, 0.0], rel=2e-6)


def test_long_rows_of_32_bits_never_exceed_the_norm() -> None:
    rows = rows_of(2, 20, 30_000, "float32")
    rows *= factors(lengths(rows), 1.0, rows.dtype)[:, None].astype(np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert norms.max() <= 1.0
    assert norms.min() > 1.0 - 1e-5


@given(st.integers(0, 12), st.integers(0, 12))
def test_coordinates_of_rows_are_those_of_the_rows(one: int, two: int) -> None:
    form = message(buffers=5)
    held = Scaled.of(form, rows_of(0, 2, form.size)).times(["buffers"], np.array([2.0, 3.0]))
    span = slice(min(one, two), max(one, two))
    assert (held.rows(span) == held.rows()[:, span]).all()


def test_sums_are_wide() -> None:
    rows = np.full((3, 2), 0.1, np.float32)
    exact = 3 * np.float64(np.float32(0.1))
    for held in (Written(rows), Scaled({"update": rows}, {})):
        assert held.total().dtype == np.float64
        assert held.total() == pytest.approx(exact, rel=1e-12)
    whole = Written(np.full((3, 2), 2**30, np.int32)).total()
    assert whole.dtype == np.int64 and (whole == 3 * 2**30).all()
