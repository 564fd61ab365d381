"""Who takes part: operators, clients, researchers, auditors, each by a public key."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, final

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from tacit.base.errors import TacitError
from tacit.deploy.store.tables import members
from tacit.deploy.wire.messages import Role

# Made once: every request looks its member up.
BY_ID: Final = select(members).where(members.c.id == bindparam("id"))


@final
@dataclass(frozen=True)
class Member:
    """A member; `public_key` is 32 bytes of Ed25519, `revoked` the time, or None."""

    id: str
    name: str
    role: Role
    public_key: bytes
    enrolled: float
    revoked: float | None = None


def add(connection: Connection, member: Member) -> None:
    """Enrol a member. Errors: store.enrolled (that key), store.name-taken."""
    same = or_(members.c.id == member.id, members.c.name == member.name)
    for row in connection.execute(select(members.c.id).where(same)):
        code = "store.enrolled" if row.id == member.id else "store.name-taken"
        raise TacitError(code, name=member.name)
    connection.execute(insert(members).values({**asdict(member), "role": member.role.value}))


def get(connection: Connection, member: str) -> Member | None:
    """The member with this id, revoked or not."""
    row = connection.execute(BY_ID, {"id": member}).one_or_none()
    return _member(row) if row else None


def named(connection: Connection, name: str) -> Member | None:
    """The member with this name, revoked or not."""
    row = connection.execute(select(members).where(members.c.name == name)).one_or_none()
    return _member(row) if row else None


def listed(connection: Connection, role: Role | None = None) -> tuple[Member, ...]:
    """All members, or those of a role, by the time of enrolment."""
    rows = select(members).order_by(members.c.enrolled, members.c.id)
    if role is not None:
        rows = rows.where(members.c.role == role.value)
    return tuple(_member(row) for row in connection.execute(rows))


def revoke(connection: Connection, member: str, now: float) -> bool:
    """End a membership for good; False where there is none or it had ended."""
    alive = (members.c.id == member) & members.c.revoked.is_(None)
    return connection.execute(update(members).where(alive).values(revoked=now)).rowcount == 1


def _member(row: Row[Any]) -> Member:
    return Member(row.id, row.name, Role(row.role), row.public_key, row.enrolled, row.revoked)
