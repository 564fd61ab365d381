"""A coordinator's database: SQLite in a file or in memory, or PostgreSQL, by URL."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from tacit.base.errors import TacitError
from tacit.deploy.store import faults, schema
from tacit.deploy.store.tables import HEAD

PRAGMAS: Final = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit that returned outlives a power cut
    "PRAGMA foreign_keys=ON",
)

WRITE: Final = {"tacit_begin": "BEGIN IMMEDIATE"}
SNAPSHOT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


@final
@dataclass(frozen=True)
class Database:
    """Transactions on one database. `lock` keeps threads apart that share one connection."""

    url: URL
    engine: Engine
    lock: AbstractContextManager[Any]

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed when the block ends, undone when it raises.

        Errors: store.full, store.busy, store.unreachable, store.conflict, store.disk.
        """
        options = WRITE if self.sqlite else {}
        with self._transaction(options) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: every statement in it sees the same moment."""
        options = {} if self.sqlite else SNAPSHOT
        with self._transaction(options) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; on SQLite this also folds the WAL into the file."""
        self.engine.dispose()

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        with faults.database(self.url), self.lock, self.engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                yield connection


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Connect, and create or upgrade the schema.

    `url`: "sqlite:///path", "sqlite://" (in memory, one shared connection) or
    "postgresql://user@host/name". Errors: store.url, store.cannot-open, store.unreachable,
    store.corrupt, store.newer, store.foreign; with `migrate=False` also store.older.
    """
    made = _connect(_parsed(url))
    try:
        with made.read() as connection:
            ready = schema.revision(connection) == HEAD
        if not ready:
            with made.begin() as connection:
                schema.prepare(connection, faults.place_of(made.url), migrate=migrate)
    except BaseException:
        made.close()
        raise
    return made


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Not repeated: whatever it is, it may hold a password.
        raise TacitError("store.url", place="What was given", why="it is no URL") from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        why = f"{parsed.drivername} is neither SQLite nor PostgreSQL"
        raise TacitError("store.url", place="What was given", why=why)
    return parsed


def _connect(url: URL) -> Database:
    if url.get_backend_name() == "postgresql":
        timeout = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
        engine = create_engine(url, pool_pre_ping=True, connect_args=timeout)
        return Database(url, engine, nullcontext())
    if url.database in {None, "", ":memory:"}:
        shared = {"check_same_thread": False}
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=shared)
        return Database(url, _sqlite(engine), threading.RLock())
    _private(Path(str(url.database)))
    return Database(url, _sqlite(create_engine(url)), nullcontext())


def _private(path: Path) -> None:
    """Make the file, and the folder if need be, for this user alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files that it makes beside this one the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as failed:
        code = "store.full" if failed.errno in faults.NO_SPACE else "store.cannot-open"
        raise TacitError(code, place=path, why=failed.strerror) from failed


def _sqlite(engine: Engine) -> Engine:
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: DBAPIConnection, _record: object) -> None:
    # The driver's own notion of transactions leaves out reads and DDL: `_begin` opens them all.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes may fail at once where another wrote between;
    # one that announces the write waits for its turn.
    connection.exec_driver_sql(connection.get_execution_options().get("tacit_begin", "BEGIN"))
