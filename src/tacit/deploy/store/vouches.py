"""Signatures of clients that a peer's key is the peer's."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from tacit.deploy.store.tables import members, vouches


class Vouch(NamedTuple):
    """Who vouches, by id, and the signature's 64 bytes."""

    by: str
    signature: bytes


def add(connection: Connection, subject: str, by: str, signature: bytes) -> None:
    """Keep a vouch; it takes the place of an earlier one by the same member."""
    same = (vouches.c.subject == subject) & (vouches.c.by == by)
    connection.execute(delete(vouches).where(same))
    connection.execute(insert(vouches).values(subject=subject, by=by, signature=signature))


def of(connection: Connection, subject: str) -> tuple[Vouch, ...]:
    """The vouches for a member, without those of revoked members."""
    return every(connection, subject).get(subject, ())


def every(connection: Connection, *subjects: str) -> dict[str, tuple[Vouch, ...]]:
    """The vouches by member vouched for: of all, or of these."""
    rows = (
        select(vouches)
        .join(members, members.c.id == vouches.c.by)
        .where(members.c.revoked.is_(None))
        .order_by(vouches.c.subject, vouches.c.by)
    )
    if subjects:
        rows = rows.where(vouches.c.subject.in_(subjects))
    found: dict[str, tuple[Vouch, ...]] = {}
    for row in connection.execute(rows):
        found[row.subject] = (*found.get(row.subject, ()), Vouch(row.by, row.signature))
    return found
