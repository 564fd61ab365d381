"""Randomness has a name: `key / "round" / 3 / "noise"` is the same stream in any order of calls."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt


@final
@dataclass(frozen=True)
class Key:
    """A named source of randomness.

    A *seeded* key repeats its streams (sampling, initial weights, tests, rehearsals).
    A *fresh* key comes from the operating system; its `words` are drawn from the operating
    system's CSPRNG at each call, never from a generator whose state could be guessed.
    """

    secret: bytes = field(repr=False)
    seeded: bool

    @staticmethod
    def seed(number: int) -> Key:
        """A repeatable key. Whoever knows `number` can draw the same again."""
        return Key(hashlib.sha256(f"tacit seed {number}".encode()).digest(), seeded=True)

    @staticmethod
    def fresh() -> Key:
        """A key that nobody can repeat."""
        return Key(os.urandom(32), seeded=False)

    def __truediv__(self, name: str | int) -> Key:
        label = f"{type(name).__name__}:{name}".encode()
        derived = hashlib.blake2b(label, key=self.secret, digest_size=32).digest()
        return Key(derived, self.seeded)

    def generator(self) -> np.random.Generator:
        """A numpy generator for sampling and weights; *not* for deployed noise (see `words`)."""
        return np.random.Generator(self._philox())

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """`count` uniform 64-bit words: from the CSPRNG if fresh, repeatable if seeded."""
        if self.seeded:
            raw: Any = self._philox().random_raw(count)
            return np.asarray(raw, np.uint64)
        return np.frombuffer(os.urandom(8 * count), np.uint64)

    def _philox(self) -> np.random.Philox:
        return np.random.Philox(key=np.frombuffer(self.secret[:16], np.uint64))
