"""The same name under many keys at once, derived only where somebody draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from tacit.base.key import Key


@final
@dataclass(frozen=True)
class Keys:
    """One key a client, as `tacit.base.key.Key` derives them; `secrets` gives their secrets."""

    secrets: Callable[[], list[bytes]]
    seeded: bool

    @staticmethod
    def of(keys: Sequence[Key] | Keys) -> Keys:
        """Keys that are there already."""
        if isinstance(keys, Keys):
            return keys
        return Keys(lambda: [key.secret for key in keys], all(key.seeded for key in keys))

    @staticmethod
    def below(key: Key, numbers: Sequence[int]) -> Keys:
        """`key / number` for each number."""

        def secrets() -> list[bytes]:
            start = hashlib.blake2b(key=key.secret, digest_size=32)
            found = []
            for number in numbers:
                one = start.copy()
                one.update(b"int:%d" % number)
                found.append(one.digest())
            return found

        return Keys(secrets, key.seeded)

    def __truediv__(self, name: str) -> Keys:
        """`key / name` for each key."""
        label, hashed = f"str:{name}".encode(), hashlib.blake2b

        def secrets() -> list[bytes]:
            return [hashed(label, key=one, digest_size=32).digest() for one in self.secrets()]

        return Keys(secrets, self.seeded)

    def __iter__(self) -> Iterator[Key]:
        return iter([Key(secret, self.seeded) for secret in self.secrets()])
