"""What a client holds: feature and label arrays, and the clients of a federation by index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError


@final
@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Features (n, ...) and labels (n,) or (n, ...), row by row; unpacks as `x, y`."""

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter((self.x, self.y))

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.x)

    def take(self, rows: npt.NDArray[Any] | slice) -> Examples:
        """Some of the records, by index or mask."""
        return Examples(self.x[rows], self.y[rows])


class Clients(Protocol):
    """A population by index: what a round costs depends on its cohort, not on this length."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The client's name in messages and errors."""
        ...

    def examples(self, index: int) -> Examples:
        """The client's records; called only when the client takes part."""
        ...


@final
@dataclass(frozen=True)
class NamedClients:
    """Clients held in memory under their names."""

    names: tuple[str, ...]
    held: tuple[Examples, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, Examples]]:
        return iter(zip(self.names, self.held, strict=True))

    def name(self, index: int) -> str:
        """The client's name."""
        return self.names[index]

    def examples(self, index: int) -> Examples:
        """The client's records."""
        return self.held[index]

    def pooled(self) -> NamedClients:
        """All records at one place: the baseline that a federation is measured against."""
        x = np.concatenate([one.x for one in self.held])
        y = np.concatenate([one.y for one in self.held])
        return NamedClients(("pooled",), (Examples(x, y),))

    def only(self, index: int) -> NamedClients:
        """One client alone."""
        return NamedClients((self.names[index],), (self.held[index],))


Held = tuple[Any, Any] | Examples
ClientsLike = Clients | Mapping[str, Held] | Sequence[Held]


def as_clients(data: Any) -> Clients:
    """Accept what users have: a `Clients`, `{name: (x, y)}`, or a list of `(x, y)`."""
    if hasattr(data, "train"):
        return as_clients(data.train)
    if isinstance(data, Mapping):
        names = tuple(str(name) for name in data)
        return NamedClients(names, tuple(_examples(n, v) for n, v in data.items()))
    if isinstance(data, list | tuple):
        names = tuple(f"client-{i}" for i in range(len(data)))
        held = tuple(_examples(n, v) for n, v in zip(names, data, strict=True))
        return NamedClients(names, held)
    if all(hasattr(data, method) for method in ("__len__", "name", "examples")):
        clients: Clients = data
        return clients
    raise TacitError("data.not-clients", kind=type(data).__name__)


def _examples(name: Any, held: Any) -> Examples:
    x, y = (np.asarray(part) for part in held)
    if len(x) != len(y):
        raise TacitError("data.lengths-differ", client=name, features=len(x), labels=len(y))
    return Examples(x, y)
