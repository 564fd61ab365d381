"""Random numbers of 16 bits for rounding, of many clients at once.

Steele, Lea, Flood, OOPSLA 2014, "Fast Splittable Pseudorandom Number Generators": SplitMix64 with a
seed and an odd increment from each client's key. A number is a function of key and place, so a
client alone draws what it would draw in a block. They need not be secret: the bound on what
rounding adds to a sensitivity holds for every dither.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tacit.protect.keys import Keys

BITS = 16

PER_WORD = 64 // BITS

Words = npt.NDArray[np.uint64]


def dithers(keys: Keys, size: int, width: int) -> Iterator[npt.NDArray[np.uint16]]:
    """Uniform whole numbers below 2^16 (clients, size), `width` of each row at a time.

    `width` is a multiple of 4. Each key belongs to this use alone. What was given is overwritten.
    """
    secrets = np.frombuffer(b"".join(keys.secrets()), "<u8").astype(np.uint64).reshape(-1, 4)
    seeds, increments = secrets[:, :1], secrets[:, 1:2] | np.uint64(1)
    places = np.arange(1, min(width, size + 3) // PER_WORD + 1, dtype=np.uint64)
    states: Words = increments * places + seeds
    words, shifted = np.empty_like(states), np.empty_like(states)
    for start in range(0, size, width):
        if start:
            states += increments * np.uint64(width // PER_WORD)
        _mix(states, words, shifted)
        numbers = words.astype("<u8", copy=False).view("<u2")
        yield numbers[:, : size - start]


def _mix(states: Words, words: Words, shifted: Words) -> None:
    """The finaliser (Stafford's variant 13, as in the paper) of each state, in `words`."""
    np.bitwise_xor(states, np.right_shift(states, 30, out=shifted), out=words)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= np.right_shift(words, 27, out=shifted)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= np.right_shift(words, 31, out=shifted)
