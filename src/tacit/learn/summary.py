"""Who holds what: the records of every client, and how its labels are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from tacit.learn.examples import Clients, as_clients

_SHOWN = 30
"""Clients in a printed table; more are counted in its last line."""


class Holding(NamedTuple):
    """One client's number of records, and of records of each class."""

    client: str
    records: int
    counts: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of each class in the client's records."""
        return tuple(count / max(self.records, 1) for count in self.counts)


@final
@dataclass(frozen=True)
class Summary:
    """Every client's holding; `classes` are the labels that occur (none: not a classification)."""

    classes: tuple[Any, ...]
    rows: tuple[Holding, ...]

    @property
    def records(self) -> int:
        """Of all clients together."""
        return sum(row.records for row in self.rows)

    def __str__(self) -> str:
        head = ["client", "records", *map(str, self.classes)]
        cells = [head, *(_cells(row) for row in self.rows[:_SHOWN]), _cells(self._total())]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_line(line, widths) for line in cells]
        if len(self.rows) > _SHOWN:
            lines.insert(-1, f"... and {len(self.rows) - _SHOWN} more")
        return "\n".join(lines)

    def _total(self) -> Holding:
        counts = zip(*(row.counts for row in self.rows), strict=True)
        return Holding("all", self.records, tuple(map(sum, counts)))


def summary(data: Any) -> Summary:
    """Records and classes of every client; `print` shows a table with shares in per cent.

    `data`: what `tacit.simulate` takes. Labels that are whole numbers or text, one a record, are
    classes; for others only records are counted.
    """
    clients = as_clients(data)
    labels = [clients.examples(i).y for i in range(len(clients))]
    classes = _classes(labels)
    rows = tuple(_holding(clients, i, y, classes) for i, y in enumerate(labels))
    return Summary(tuple(classes.tolist()), rows)


def _classes(labels: list[Any]) -> Any:
    """The labels that any client has, in order."""
    if not labels or any(y.ndim != 1 or y.dtype.kind == "f" for y in labels):
        return np.zeros(0)
    return np.unique(np.concatenate([np.unique(y) for y in labels]))


def _holding(clients: Clients, index: int, labels: Any, classes: Any) -> Holding:
    counts = (
        np.bincount(np.searchsorted(classes, labels), minlength=len(classes))
        if len(classes)
        else np.zeros(0, np.int64)
    )
    return Holding(clients.name(index), len(labels), tuple(counts.tolist()))


def _cells(row: Holding) -> list[str]:
    return [row.client, f"{row.records}", *(f"{100 * share:.0f} %" for share in row.shares)]


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return "  ".join(padded).rstrip()
