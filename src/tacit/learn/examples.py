"""What a client holds: feature and label arrays, and the clients of a federation by index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.learn.inputs import Names, arrays, columns_of, is_data_set, is_pair, is_table


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


@final
@dataclass(frozen=True, eq=False)
class LateClients:
    """Clients whose records are read when they are first needed, and then kept.

    What `read` raises for one client concerns that client alone: the others' rounds go on.
    """

    names: tuple[str, ...]
    read: tuple[Callable[[], Examples], ...]
    kept: dict[int, Examples] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The client's name."""
        return self.names[index]

    def examples(self, index: int) -> Examples:
        """The client's records."""
        if index not in self.kept:
            self.kept[index] = self.read[index]()
        return self.kept[index]


class Encodes(Protocol):
    """A contract that turns a site's table into examples: `Schema`."""

    def encode(self, table: Any, client: str) -> Examples:
        """The table's examples, or an error that names the client."""
        ...


def examples(
    source: Any,
    features: Names | None = None,
    label: str | None = None,
    schema: Encodes | None = None,
    client: str = "site",
) -> Examples:
    """One client's data, as its owner has it, as features and labels.

    `source`: (x, y) arrays, memory maps or tensors; a table (a pandas DataFrame, an Arrow table, a
    path to a Parquet file, a Hugging Face data set, a dict of columns) with `label` and
    `features`, or with a `schema` that says both and knows categories and missing cells; or a
    map-style torch `Dataset`, of which every item is taken once. See `tacit.learn.inputs.arrays`
    for details and errors.
    """
    table = None if schema is None else columns_of(source, client)
    if schema is not None and table is not None:
        return schema.encode(table, client)
    return Examples(*arrays(source, client, features, label))


def clients(
    sources: Mapping[str, Any] | Sequence[Any],
    features: Names | None = None,
    label: str | None = None,
    schema: Encodes | None = None,
) -> NamedClients | LateClients:
    """Several clients' data under their names; see `examples` for what each may be.

    Tables and arrays are read at once, so that a mistake shows before anything runs. Data sets by
    index are read when a client first takes part.
    """
    held: Mapping[Any, Any] = (
        sources
        if isinstance(sources, Mapping)
        else {f"client-{i}": one for i, one in enumerate(sources)}
    )
    names = tuple(str(name) for name in held)
    read = tuple(
        partial(examples, source, features, label, schema, name)
        for name, source in zip(names, held.values(), strict=True)
    )
    if any(_late(source) for source in held.values()):
        return LateClients(names, read)
    return NamedClients(names, tuple(one() for one in read))


def as_clients(data: Any, schema: Any = None) -> Clients:
    """Accept what users have: a `Clients`, `{name: data}`, or a list of clients' data.

    Each client's data is what `examples` accepts. Tables without a label need a `schema`; another
    kind of contract is passed over.
    """
    if hasattr(data, "train"):
        return as_clients(data.train, schema)
    if isinstance(data, Mapping | list | tuple):
        return clients(data, schema=schema if hasattr(schema, "encode") else None)
    if all(hasattr(data, method) for method in ("__len__", "name", "examples")):
        found: Clients = data
        return found
    raise TacitError("data.not-clients", kind=type(data).__name__)


def _late(source: Any) -> bool:
    return is_data_set(source) and not is_pair(source) and not is_table(source)
