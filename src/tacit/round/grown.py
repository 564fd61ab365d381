"""A mapping that grows by an entry in constant time, and whose older versions stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar, final

V = TypeVar("V")


@final
@dataclass(frozen=True, eq=False)
class Grown(Mapping[int, V], Generic[V]):
    """The first `size` entries of a store that newer versions share and only ever add to.

    Driscoll, Sarnak, Sleator, Tarjan 1989, "Making Data Structures Persistent", section 2, for the
    case that the newest version grows; from an older one, growing copies. Not for several threads.
    """

    store: dict[int, tuple[int, V]] = field(default_factory=dict)
    size: int = 0

    @staticmethod
    def of(entries: Mapping[int, V]) -> Grown[V]:
        """With these entries, in their order."""
        places = enumerate(entries.items())
        return Grown({key: (place, value) for place, (key, value) in places}, len(entries))

    def grown(self, key: int, value: V) -> Grown[V]:
        """With an entry more, or with another value for one."""
        if len(self.store) > self.size or key in self.store:
            return Grown.of({**self, key: value})
        self.store[key] = (self.size, value)
        return Grown(self.store, self.size + 1)

    def __getitem__(self, key: int) -> V:
        place, value = self.store[key]
        if place >= self.size:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        found = self.store.get(key)  # type: ignore[call-overload]  # no other type has an entry
        return found is not None and found[0] < self.size

    def __iter__(self) -> Iterator[int]:
        return islice(self.store, self.size)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return repr(dict(self))
