"""Single-use invitations, by the SHA-256 of their code: who reads the database cannot use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, insert, select, update

from tacit.base.errors import TacitError
from tacit.deploy.store.tables import invitations
from tacit.deploy.wire.messages import Role


@final
@dataclass(frozen=True)
class Invited:
    """What an invitation allows; `name` binds it to one; `by` is empty for the first operator."""

    code_hash: str
    role: Role
    name: str | None
    expires: float
    by: str = ""


def invite(connection: Connection, invited: Invited) -> None:
    """Keep an invitation."""
    row = {
        "code_hash": invited.code_hash,
        "role": invited.role.value,
        "name": invited.name,
        "expires": invited.expires,
        "by": invited.by or None,
    }
    connection.execute(insert(invitations).values(row))


def redeem(connection: Connection, code_hash: str, member: str, now: float) -> Invited:
    """Use up an invitation for a member, who may be added afterwards in the same transaction.

    Of several that race one wins. Errors: invitation.unknown, invitation.used,
    invitation.expired.
    """
    free = (
        (invitations.c.code_hash == code_hash)
        & invitations.c.used_by.is_(None)
        & (invitations.c.expires > now)
    )
    taken = connection.execute(update(invitations).where(free).values(used_by=member, used=now))
    here = select(invitations).where(invitations.c.code_hash == code_hash)
    row = connection.execute(here).one_or_none()
    if row is None:
        raise TacitError("invitation.unknown")
    if taken.rowcount != 1:
        used = row.used_by is not None
        raise TacitError("invitation.used" if used else "invitation.expired")
    return Invited(row.code_hash, Role(row.role), row.name, row.expires, row.by or "")


def unused(connection: Connection, code_hash: str) -> bool:
    """Whether there is such an invitation, and nobody has used it."""
    free = (invitations.c.code_hash == code_hash) & invitations.c.used_by.is_(None)
    return connection.execute(select(invitations.c.code_hash).where(free)).first() is not None


def withdraw(connection: Connection, by: str) -> int:
    """Remove the unused invitations of a member; gives how many."""
    unused = (invitations.c.by == by) & invitations.c.used_by.is_(None)
    return connection.execute(invitations.delete().where(unused)).rowcount


def forget(connection: Connection, before: float) -> int:
    """Remove unused invitations that expired before this time; gives how many."""
    old = (invitations.c.expires < before) & invitations.c.used_by.is_(None)
    return connection.execute(invitations.delete().where(old)).rowcount
