"""The journal of a run: what happened, in order. The run's state is the fold of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from sqlalchemy import Connection, bindparam, func, insert, select

from tacit.base.errors import TacitError
from tacit.deploy.store.tables import journal

# Made once: to make a statement takes longer than SQLite needs to run it.
LENGTH: Final = select(func.coalesce(func.max(journal.c.seq), 0)).where(
    journal.c.run == bindparam("run")
)
LINES: Final = (
    select(journal.c.seq, journal.c.at, journal.c.kind, journal.c.body)
    .where((journal.c.run == bindparam("run")) & (journal.c.seq > bindparam("after")))
    .order_by(journal.c.seq)
)
APPEND: Final = insert(journal)


@final
@dataclass(frozen=True)
class Entry:
    """A line: its number from 1 on, the time in seconds, what kind of fact, and the fact."""

    seq: int
    at: float
    kind: str
    body: dict[str, Any]


def append(
    connection: Connection,
    run: str,
    lines: Sequence[tuple[float, str, dict[str, Any]]],
    after: int | None = None,
) -> int:
    """Add lines (at, kind, body) in order, with whatever else the transaction writes.

    Gives the number of the last line. `after` is the last line that the writer has seen: a writer
    that another has overtaken gets store.conflict, as do two that append at once.
    """
    last = length(connection, run)
    if after is not None and after != last:
        why = f"the journal has {last} lines, not {after}"
        raise TacitError("store.conflict", place=f"The journal of run {run}", why=why)
    rows = [
        {"run": run, "seq": seq, "at": at, "kind": kind, "body": json.dumps(body)}
        for seq, (at, kind, body) in enumerate(lines, last + 1)
    ]
    if rows:
        connection.execute(APPEND, rows)
    return last + len(rows)


def entries(
    connection: Connection, run: str, after: int = 0, limit: int | None = None
) -> tuple[Entry, ...]:
    """The lines after number `after`, in order, at most `limit`."""
    rows = connection.execute(LINES.limit(limit), {"run": run, "after": after})
    return tuple(Entry(seq, at, kind, json.loads(body)) for seq, at, kind, body in rows)


def length(connection: Connection, run: str) -> int:
    """The number of the last line; 0 where there is none."""
    return int(connection.execute(LENGTH, {"run": run}).scalar_one())
