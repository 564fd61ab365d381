"""Transactions on a client's own database: SQLite, durable at every commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, final

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine.interfaces import DBAPIConnection

from tacit.base.errors import TacitError
from tacit.deploy.client.home import Home
from tacit.deploy.client.tables import VERSION, meta, metadata
from tacit.deploy.store import faults

_PRAGMAS: Final = ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


@final
@dataclass(frozen=True)
class Ledger:
    """One SQLite file. The agent and the owner's commands may have it open at once."""

    engine: Engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: on the disk when the block ends, undone when it raises (store.*)."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For statements that only read; each of them sees one moment."""
        with self._transaction("") as connection:
            yield connection

    def close(self) -> None:
        """Close the file."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with faults.database(self.engine.url), self.engine.connect() as connection:
            connection.execution_options(tacit_begin=begin)
            with connection.begin():
                yield connection


def open_ledger(home: Home) -> Ledger:
    """Open or create state.db; raises `client.state-newer`, store.*."""
    home.state.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{home.state}")
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    found = Ledger(engine)
    try:
        _check(found, home)
    except BaseException:
        found.close()
        raise
    return found


def _check(found: Ledger, home: Home) -> None:
    with found.write() as connection:
        if not inspect(connection).has_table(meta.name):
            metadata.create_all(connection, checkfirst=False)
            connection.execute(insert(meta).values(version=VERSION))
        version = connection.scalar(select(meta.c.version))
    if version is None or version > VERSION:
        raise TacitError("client.state-newer", file=home.state, found=version, known=VERSION)


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # `_begin` opens transactions, not the driver
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    begin = connection.get_execution_options()["tacit_begin"]
    if begin:
        connection.exec_driver_sql(begin)
