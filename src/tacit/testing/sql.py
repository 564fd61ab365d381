"""Databases of nodes: real SQLite files whose commits may be a process's last operation.

Engines are made once for every place and used again by later processes and later stories, so that
a statement is compiled once.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from tacit.deploy.client.database import Ledger, open_ledger
from tacit.deploy.client.home import Home
from tacit.deploy.store.database import Database, open_database
from tacit.testing.node import Node


@final
@dataclass
class Slot:
    """Who uses an engine now, and whether its open transaction has written."""

    node: Node | None = None
    wrote: set[int] = field(default_factory=set)

    def watch(self, engine: Engine) -> None:
        """Let the node decide about every statement and commit."""
        event.listen(engine, "before_cursor_execute", self._executes)
        event.listen(engine, "commit", self._commits)

    def _executes(self, connection: Connection, _: Any, statement: str, *rest: Any) -> None:
        if self.node is not None:
            self.node.alive()
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self.wrote.add(id(connection))

    def _commits(self, connection: Connection) -> None:
        if id(connection) not in self.wrote or self.node is None:
            return
        self.wrote.discard(id(connection))
        self.node.operate()
        if self.node.loop.time() < self.node.full:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise OperationalError("COMMIT", None, full)


@cache
def database_at(path: Path) -> tuple[Database, Slot]:
    """The coordinator's database at a place, and who uses it."""
    found, slot = open_database(f"sqlite:///{path}"), Slot()
    slot.watch(found.engine)
    return found, slot


@cache
def ledger_at(folder: Path) -> tuple[Ledger, Slot]:
    """A client's database in its home, and who uses it."""
    found, slot = open_ledger(Home(folder)), Slot()
    slot.watch(found.engine)
    return found, slot
