"""What clients keep between rounds, by index: a store, not objects that live as long as clients.

`InMemory` is a dictionary. `OnDisk` keeps rows of bytes in unnamed files, so that a population with
large memories costs this process no more than the cohort at work; a row is written when an answer
is included and read when its client is asked again. Both give back the very bits that were put.
"""

from __future__ import annotations

import json
import math
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from tacit.base.tree import Leaf, flatten, unflatten
from tacit.round.turn import Memories

LARGE = 1 << 30
"""Bytes of all clients' memories together from which they are kept on disk."""

Bytes = npt.NDArray[np.uint8]


class Shelf(NamedTuple):
    """Memories of one form: `clients` (n,) and their `rows` (n, width) of bytes."""

    form: str
    clients: npt.NDArray[np.int64]
    rows: Bytes


class MemoryStore(Protocol):
    """Memories by client; a client that was never put has an empty one."""

    def get(self, client: int) -> Memories:
        """What the client keeps; not to be changed in place."""
        ...

    def put(self, client: int, memories: Memories) -> None:
        """Replace what the client keeps; raises `run.not-storable` where it cannot be kept."""
        ...

    def __iter__(self) -> Iterator[int]: ...

    def __len__(self) -> int: ...

    def snapshot(self) -> list[Shelf]:
        """Everything, for a checkpoint; good until the next `put`."""
        ...

    def restore(self, shelves: Iterable[Shelf]) -> None:
        """Everything as it was at a snapshot."""
        ...


def memory_for(clients: int, each: int) -> MemoryStore:
    """The store for a population of `clients` that keep about `each` bytes."""
    return InMemory() if clients * each < LARGE else OnDisk()


@final
@dataclass(frozen=True)
class InMemory:
    """A dictionary."""

    held: dict[int, Memories] = field(default_factory=dict)

    def get(self, client: int) -> Memories:
        """What the client keeps."""
        return self.held.get(client, {})

    def put(self, client: int, memories: Memories) -> None:
        """Replace it."""
        self.held[client] = memories

    def __iter__(self) -> Iterator[int]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)

    def snapshot(self) -> list[Shelf]:
        """Memories of one form side by side."""
        found: dict[str, tuple[list[int], list[bytes]]] = {}
        for client, memories in self.held.items():
            form, row = packed(memories)
            clients, rows = found.setdefault(form, ([], []))
            clients.append(client)
            rows.append(row)
        return [
            Shelf(form, np.array(clients, np.int64), _matrix(rows))
            for form, (clients, rows) in found.items()
        ]

    def restore(self, shelves: Iterable[Shelf]) -> None:
        """Replace everything."""
        self.held.clear()
        for form, clients, rows in shelves:
            for client, row in zip(clients, rows, strict=True):
                self.held[int(client)] = unpacked(form, row.tobytes())


@final
class _File:
    """Rows of one width in an unnamed file that vanishes with this process, without gaps."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as this
        weakref.finalize(self, self.file.close)
        self.slots: dict[int, int] = {}
        self.clients: list[int] = []

    def read(self, client: int) -> bytes:
        return self._at(self.slots[client])

    def write(self, client: int, row: bytes) -> None:
        slot = self.slots.setdefault(client, len(self.clients))
        if slot == len(self.clients):
            self.clients.append(client)
        self.file.seek(slot * self.width)
        self.file.write(row)

    def remove(self, client: int) -> None:
        """The last row takes the place of the one that goes."""
        last = self.clients[-1]
        row = self.read(last)
        gap = self.slots.pop(client)
        self.clients.pop()
        if last != client:
            self.clients[gap], self.slots[last] = last, gap
            self.write(last, row)

    def rows(self) -> Bytes:
        """All rows as an array on the file: pages are read when they are used."""
        shape = (len(self.clients), self.width)
        self.file.flush()
        if not math.prod(shape):
            return np.zeros(shape, np.uint8)
        return np.memmap(self.file, np.uint8, "r", shape=shape)

    def _at(self, slot: int) -> bytes:
        self.file.seek(slot * self.width)
        return self.file.read(self.width)


@final
class OnDisk:
    """Rows of bytes in files, one for each form of memories; an index says whose they are."""

    def __init__(self) -> None:
        self.files: dict[str, _File] = {}
        self.form: dict[int, str] = {}

    def get(self, client: int) -> Memories:
        """Read the client's row."""
        form = self.form.get(client)
        return {} if form is None else unpacked(form, self.files[form].read(client))

    def put(self, client: int, memories: Memories) -> None:
        """Write the client's row."""
        form, row = packed(memories)
        before = self.form.get(client)
        if before is not None and before != form:
            self.files[before].remove(client)
        if form not in self.files:
            self.files[form] = _File(len(row))
        self.files[form].write(client, row)
        self.form[client] = form

    def __iter__(self) -> Iterator[int]:
        return iter(self.form)

    def __len__(self) -> int:
        return len(self.form)

    def snapshot(self) -> list[Shelf]:
        """The files, mapped."""
        return [
            Shelf(form, np.array(file.clients, np.int64), file.rows())
            for form, file in self.files.items()
        ]

    def restore(self, shelves: Iterable[Shelf]) -> None:
        """Replace everything."""
        self.files.clear()
        self.form.clear()
        for form, clients, rows in shelves:
            self.files[form] = _File(rows.shape[1])
            for client, row in zip(clients, rows, strict=True):
                self.files[form].write(int(client), row.tobytes())
                self.form[int(client)] = form


def packed(memories: Memories) -> tuple[str, bytes]:
    """A client's memories as their form (JSON: outline, types, shapes) and one row of bytes."""
    outline, leaves = flatten(memories, "memory")
    kinds = [[leaf.dtype.str, list(leaf.shape), _order(leaf)] for leaf in leaves]
    return json.dumps([outline, kinds]), b"".join(leaf.tobytes("A") for leaf in leaves)


def unpacked(form: str, row: bytes) -> Memories:
    """The memories again, in arrays of their own."""
    outline, kinds = json.loads(form)
    leaves, start = [], 0
    for dtype, shape, order in kinds:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        flat = np.frombuffer(row[start : start + size], dtype).copy()
        leaves.append(flat.reshape(shape, order=order))
        start += size
    memories: Memories = unflatten(outline, leaves)
    return memories


def _order(leaf: Leaf) -> str:
    """How `tobytes("A")` walks the array."""
    return "F" if leaf.flags.fnc else "C"


def _matrix(rows: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1 if rows[0] else 0)
