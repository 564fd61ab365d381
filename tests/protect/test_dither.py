"""Dithers beside SplitMix64 as the paper has it (Steele, Lea, Flood 2014); they are uniform."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.key import Key
from tacit.protect.dither import dithers
from tacit.protect.keys import Keys

WORD = 2**64


def dither(keys: Keys, size: int) -> npt.NDArray[np.uint16]:
    return next(dithers(keys, size, size + 8 - size % 4))


def by_hand(key: Key, size: int) -> list[int]:
    """One number after the other, from words of 64 bits, lowest bits first."""
    seed = int.from_bytes(key.secret[:8], "little")
    increment = int.from_bytes(key.secret[8:16], "little") | 1
    found: list[int] = []
    while len(found) < size:
        seed = (seed + increment) % WORD
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) % WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % WORD
        z ^= z >> 31
        found += [(z >> shift) % 2**16 for shift in (0, 16, 32, 48)]
    return found[:size]


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4), st.integers(1, 40))
def test_a_client_alone_draws_what_it_draws_in_a_block(seeds: list[int], size: int) -> None:
    keys = tuple(Key.seed(seed) for seed in seeds)
    found = dither(Keys.of(keys), size)
    assert found.shape == (len(seeds), size)
    for row, key in zip(found, keys, strict=True):
        assert row.tolist() == by_hand(key, size)
    pieces = [piece.copy() for piece in dithers(Keys.of(keys), size, 8)]
    assert (np.concatenate(pieces, axis=1) == found).all()


def spread(numbers: np.ndarray, values: int) -> float:
    """Chi-square over equally likely values, in standard deviations from its mean."""
    counts = np.bincount(numbers.ravel(), minlength=values)
    expected = numbers.size / values
    chi = float(((counts - expected) ** 2).sum() / expected)
    return (chi - (values - 1)) / math.sqrt(2 * (values - 1))


def test_numbers_are_uniform_in_their_high_and_low_bits() -> None:
    found = dither(Keys.below(Key.seed(5), range(200)), 2000).astype(np.int64)
    for numbers in (found >> 8, found & 255, found[:, :4] >> 10):
        assert abs(spread(numbers, int(numbers.max()) + 1)) < 5


def test_numbers_of_neighbours_in_a_row_and_of_two_clients_are_independent() -> None:
    found = dither(Keys.below(Key.seed(6), range(200)), 2000).astype(np.int64) >> 12
    row, client = found[:, 1:] * 16 + found[:, :-1], found[1:] * 16 + found[:-1]
    assert abs(spread(row, 256)) < 5
    assert abs(spread(client, 256)) < 5


def test_the_same_measure_tells_a_stream_that_two_clients_share() -> None:
    found = dither(Keys.below(Key.seed(6), [1, 1]), 20_000).astype(np.int64) >> 12
    assert spread(found[1:] * 16 + found[:-1], 256) > 5
