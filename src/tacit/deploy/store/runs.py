"""Runs: what was submitted, by whom, and how it stands. Their lives are in the journal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, final

from sqlalchemy import Connection, Row, insert, select, tuple_, update

from tacit.deploy.store.tables import runs


@final
@dataclass(frozen=True)
class RunRow:
    """A run; `seed` makes it a rehearsal, `clients` are names in the order of their places."""

    id: str
    name: str
    digest: str
    description: dict[str, Any]
    by: str
    submitted: float
    seed: int | None
    clients: tuple[str, ...]
    dataset: str
    status: str


def add(connection: Connection, run: RunRow) -> None:
    """Keep a new run. Errors: store.conflict where there is one with this id."""
    row = asdict(run)
    row["description"] = json.dumps(run.description)
    row["clients"] = json.dumps(run.clients)
    connection.execute(insert(runs).values(row))


def get(connection: Connection, run: str) -> RunRow | None:
    """The run with this id."""
    row = connection.execute(select(runs).where(runs.c.id == run)).one_or_none()
    return _run(row) if row else None


def listed(
    connection: Connection, limit: int = 100, before: str | None = None, by: str | None = None
) -> tuple[RunRow, ...]:
    """Runs, newest first: those older than the run `before`; those of the researcher `by`."""
    order = tuple_(runs.c.submitted, runs.c.id)
    rows = select(runs).order_by(runs.c.submitted.desc(), runs.c.id.desc()).limit(limit)
    if before is not None:
        mark = select(runs.c.submitted, runs.c.id).where(runs.c.id == before).scalar_subquery()
        rows = rows.where(order < mark)
    if by is not None:
        rows = rows.where(runs.c.by == by)
    return tuple(_run(row) for row in connection.execute(rows))


def set_status(connection: Connection, run: str, status: str) -> None:
    """Note how a run stands."""
    connection.execute(update(runs).where(runs.c.id == run).values(status=status))


def with_status(connection: Connection, *status: str) -> tuple[RunRow, ...]:
    """Runs that stand so, oldest first."""
    rows = select(runs).where(runs.c.status.in_(status)).order_by(runs.c.submitted, runs.c.id)
    return tuple(_run(row) for row in connection.execute(rows))


def _run(row: Row[Any]) -> RunRow:
    return RunRow(
        id=row.id,
        name=row.name,
        digest=row.digest,
        description=json.loads(row.description),
        by=row.by,
        submitted=row.submitted,
        seed=row.seed,
        clients=tuple(json.loads(row.clients)),
        dataset=row.dataset,
        status=row.status,
    )
