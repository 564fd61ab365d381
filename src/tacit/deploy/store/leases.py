"""Leases: of several coordinators on one database, one drives a run at a time."""

from __future__ import annotations

from sqlalchemy import Connection, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from tacit.deploy.store.tables import leases


def take(connection: Connection, run: str, holder: str, now: float, seconds: float) -> bool:
    """Take or renew the lease of a run until `now + seconds`; False while another holds it."""
    values = {"holder": holder, "until": now + seconds}
    ours = (leases.c.holder == holder) | (leases.c.until <= now)
    renewed = update(leases).where((leases.c.run == run) & ours).values(values)
    if connection.execute(renewed).rowcount == 1:
        return True
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = dialect.insert(leases).values(run=run, **values).on_conflict_do_nothing()
    return connection.scalar(first.returning(leases.c.run)) is not None


def release(connection: Connection, run: str, holder: str) -> None:
    """Give a lease back; one that another holds stays."""
    connection.execute(delete(leases).where((leases.c.run == run) & (leases.c.holder == holder)))
