"""Rows that tests fill a store with."""

from __future__ import annotations

from sqlalchemy import Connection

from tacit.deploy.store import members, runs
from tacit.deploy.store.members import Member
from tacit.deploy.store.runs import RunRow
from tacit.deploy.wire.messages import Role


def member(number: int = 0, role: Role = Role.CLIENT, name: str | None = None) -> Member:
    return Member(f"{number:032x}", name or f"m{number}", role, bytes([number]) * 32, float(number))


def run(number: int = 0, at: float = 0.0, status: str = "waiting") -> RunRow:
    return RunRow(
        id=f"{number:032x}",
        name=f"run {number}",
        digest=f"{number:064x}",
        description={"rounds": 3, "task": {"kind": "numpy", "odd": "\x00 \ud800 ü"}},
        by=member().id,
        submitted=at,
        seed=2**53 if number % 2 else None,
        clients=("a", "b") if number % 2 else (),
        dataset="heart",
        status=status,
    )


def with_run(connection: Connection, number: int = 0) -> str:
    """A run and its researcher; gives the run's id."""
    if members.get(connection, member().id) is None:
        members.add(connection, member(role=Role.RESEARCHER))
    runs.add(connection, run(number))
    return run(number).id
