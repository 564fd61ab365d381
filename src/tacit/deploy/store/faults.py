"""What disks and databases raise, as errors of the catalogue."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tacit.base.errors import TacitError

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

SQLITE: Final = {
    sqlite3.SQLITE_FULL: "store.full",
    sqlite3.SQLITE_BUSY: "store.busy",
    sqlite3.SQLITE_LOCKED: "store.busy",
    sqlite3.SQLITE_CORRUPT: "store.corrupt",
    sqlite3.SQLITE_NOTADB: "store.corrupt",
    sqlite3.SQLITE_CANTOPEN: "store.cannot-open",
    sqlite3.SQLITE_READONLY: "store.cannot-open",
    sqlite3.SQLITE_PERM: "store.cannot-open",
    sqlite3.SQLITE_IOERR: "store.disk",
}
"""By primary result code: https://www.sqlite.org/rescode.html."""

POSTGRES: Final = {
    "08": "store.unreachable",  # connection
    "28": "store.unreachable",  # authorisation
    "3D": "store.unreachable",  # no such database
    "40": "store.busy",  # serialisation, deadlock
    "53": "store.busy",  # resources; 53100, the full disk, is told apart
    "55": "store.busy",  # lock
    "57": "store.unreachable",  # the operator ends the server
    "58": "store.disk",  # I/O of the server
    "XX": "store.corrupt",
}
"""By class of SQLSTATE: PostgreSQL manual, appendix A."""


def place_of(url: URL) -> str:
    """A database's address without user, password or options."""
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    host = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"


@contextmanager
def database(url: URL) -> Iterator[None]:
    """Turn what a database driver raises into store.* errors; a programmer's mistake stays."""
    try:
        yield
    except PoolTimeout as failed:
        raise TacitError(
            "store.busy", place=place_of(url), why="all connections are in use"
        ) from failed
    except DBAPIError as failed:
        code = _code(failed)
        if code is None:
            raise
        # Without the statement and its values; `from None`, for they hold whatever was stored.
        raise TacitError(code, place=place_of(url), why=_why(failed, url)) from None


@contextmanager
def disk(place: str | Path) -> Iterator[None]:
    """Turn what a file system raises into store.full or store.disk."""
    try:
        yield
    except OSError as failed:
        code = "store.full" if failed.errno in NO_SPACE else "store.disk"
        why = failed.strerror or type(failed).__name__
        raise TacitError(code, place=place, why=why) from failed


def _code(failed: DBAPIError) -> str | None:
    if isinstance(failed, IntegrityError):
        return "store.conflict"
    if isinstance(failed.orig, sqlite3.Error):
        return _sqlite_code(failed.orig)
    state = getattr(failed.orig, "sqlstate", None)
    if state == "53100":
        return "store.full"
    if state is None:  # no answer from a server
        return "store.unreachable" if _operational(failed) else None
    return POSTGRES.get(state[:2])


def _sqlite_code(failed: sqlite3.Error) -> str | None:
    code = getattr(failed, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # no room for the shared memory beside the file
        return "store.full"
    return SQLITE.get(code & 0xFF)


def _operational(failed: DBAPIError) -> bool:
    return failed.connection_invalidated or "OperationalError" in {
        kind.__name__ for kind in type(failed.orig).__mro__
    }


def _why(failed: DBAPIError, url: URL) -> str:
    lines = str(failed.orig).strip().splitlines() or [type(failed.orig).__name__]
    secrets = [url.password, url.query.get("password")]
    why = lines[0].strip().rstrip(".")
    for secret in secrets:
        why = why.replace(str(secret), "***") if secret else why
    return why
