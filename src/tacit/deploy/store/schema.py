"""Bring a database's schema to this version. Alembic takes 0.6 s to load: only where needed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text

from tacit.base.errors import TacitError
from tacit.deploy.store.tables import HEAD, REVISIONS, metadata, versions

LOCK: Final = 0x7461636974
"""Of PostgreSQL's advisory locks: coordinators that start together prepare one by one."""


def prepare(connection: Connection, place: str, *, migrate: bool) -> None:
    """Create or upgrade the schema, within a write transaction."""
    _alone(connection)
    found = revision(connection)
    if found is not None and found not in REVISIONS:
        raise TacitError("store.newer", place=place, found=found, known=HEAD)
    if found != HEAD and not migrate:
        raise TacitError("store.older", place=place, found=found or "none", needed=HEAD)
    if found is None:
        create(connection, place)
    elif found != HEAD:  # another coordinator may have done it meanwhile
        _upgrade(connection)


def revision(connection: Connection) -> str | None:
    """The revision of the schema; None where there is none yet."""
    if not inspect(connection).has_table(versions.name):
        return None
    return connection.scalar(select(versions.c.version_num))


def create(connection: Connection, place: str) -> None:
    """Make all tables of this version. Tests hold that the migrations make the same."""
    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        raise TacitError("store.foreign", place=place, table=taken[0])
    metadata.create_all(connection, checkfirst=False)
    versions.create(connection, checkfirst=True)
    connection.execute(insert(versions).values(version_num=HEAD))


def _alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def _upgrade(connection: Connection) -> None:
    from tacit.deploy.store.migrations import upgrade

    upgrade(connection, HEAD)
