"""Handlers of members: enrolment, invitations, revocation, peers and vouches."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import replace

from sqlalchemy import Connection

from tacit import __version__
from tacit.base.errors import TacitError
from tacit.deploy.coordinator.call import Call
from tacit.deploy.coordinator.driver import LOG
from tacit.deploy.coordinator.lookalikes import unlike
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.identity.keys import member_id
from tacit.deploy.store import invitations, members, vouches
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import (
    Enrolled,
    Enrolment,
    Hello,
    Invite,
    Invited,
    MemberFact,
    Members,
    Nothing,
    Peer,
    Peers,
    Role,
    Vouch,
    Vouching,
)
from tacit.deploy.wire.statements import signed_by, vouch_text

MINUTE = 60.0


async def hello(call: Call) -> Hello:
    """What anybody may know."""
    found = call.coordinator
    return Hello(__version__, found.clock.now(), found.settings.fingerprint)


async def enrol(call: Call) -> Enrolled:
    """An invitation becomes a member; the same request again gives the same answer."""
    here, body = call.coordinator, call.body
    assert isinstance(body, Enrolment)
    now = here.clock.now()
    public = public_key(body)
    code = hashlib.sha256(body.code.encode()).hexdigest()
    if not _same(here.members.get(member_id(public)), body):
        await _not_too_often(here, code, now)

    def write() -> Member:
        with here.database.begin() as connection:
            return _enrol(connection, body, public, code, now)

    async with here.lock:
        known = here.members.get(member_id(public))
        if known is None or not _same(known, body):
            try:
                known = await here.offload(write)
            except TacitError as refused:
                here.enrolments.append(now)
                LOG.warning("enrolment refused", code=refused.code)
                raise
            LOG.info("enrolled", member=known.id, role=known.role.value)
        here.changed(known)
    return Enrolled(known.id, known.name, known.role, now)


def _same(known: Member | None, body: Enrolment) -> bool:
    """Whether this enrolment has taken place, and only its reply was lost."""
    return known is not None and known.revoked is None and known.name == body.name


def public_key(body: Enrolment) -> bytes:
    """The key that a body enrols; whether it is one shows when it verifies."""
    try:
        return b64decode(body.public_key, validate=True)
    except NotBase64 as wrong:
        raise TacitError("member.key") from wrong


def _enrol(connection: Connection, body: Enrolment, public: bytes, code: str, now: float) -> Member:
    invited = invitations.redeem(connection, code, member_id(public), now)
    if invited.name is not None and invited.name != body.name:
        raise TacitError("member.name", invited=invited.name, name=body.name)
    member = Member(member_id(public), body.name, invited.role, public, now)
    if looks := unlike(body.name, members.listed(connection)):
        raise TacitError("member.name-odd", name=body.name, problem=looks)
    members.add(connection, member)
    return member


async def _not_too_often(here: Coordinator, code: str, now: float) -> None:
    """Failed attempts of everybody together: nobody guesses 128 bits, but many may try.

    Whoever has an invitation comes in all the same.
    """
    here.enrolments[:] = [at for at in here.enrolments if now - MINUTE < at <= now]
    if len(here.enrolments) < here.settings.enrolments:
        return

    def invited() -> bool:
        with here.database.read() as connection:
            return invitations.unused(connection, code)

    if not await here.offload(invited):
        raise TacitError("deploy.enrolments", seconds=int(MINUTE))


async def invite(call: Call) -> Invited:
    """A new invitation; only its hash is kept."""
    here, asked = call.coordinator, call.body
    assert isinstance(asked, Invite)
    code = urlsafe_b64encode(here.fresh(16)).decode().rstrip("=")
    expires = here.clock.now() + asked.hours * 3600
    hashed = hashlib.sha256(code.encode()).hexdigest()
    kept = invitations.Invited(hashed, asked.role, asked.name, expires, call.member.id)

    def write() -> None:
        with here.database.begin() as connection:
            invitations.forget(connection, here.clock.now())
            invitations.invite(connection, kept)

    async with here.lock:
        here.still(call.member)
        await here.offload(write)
    return Invited(code, asked.role, asked.name, expires)


async def listed(call: Call) -> Members:
    """All members, with when they were last seen since the coordinator started."""
    here = call.coordinator
    return Members(
        tuple(
            MemberFact(
                one.id,
                one.name,
                one.role,
                b64encode(one.public_key).decode(),
                one.enrolled,
                one.revoked,
                here.seen.get(one.id),
            )
            for one in here.members.values()
        )
    )


async def revoke(call: Call) -> Nothing:
    """End a membership at once and for good."""
    here, now = call.coordinator, call.coordinator.clock.now()
    member = here.members.get(call.path.id)
    if member is None:
        raise TacitError("member.none", member=call.path.id)
    if member.id == call.member.id:
        raise TacitError("member.self", name=member.name)

    def write() -> None:
        with here.database.begin() as connection:
            members.revoke(connection, member.id, now)
            invitations.withdraw(connection, member.id)

    async with here.lock:
        here.still(call.member)  # two operators who revoke each other: one of them stays
        if member.revoked is None:
            await here.offload(write)
            await here.without(replace(member, revoked=now))
            LOG.info("revoked", member=member.id, by=call.member.id)
    return Nothing()


async def peers(call: Call) -> Peers:
    """The other clients, and who vouched for them."""
    here = call.coordinator

    def read() -> dict[str, tuple[vouches.Vouch, ...]]:
        with here.database.read() as connection:
            return vouches.every(connection)

    async with here.lock:
        given = await here.offload(read)
    others = [
        one
        for one in here.members.values()
        if one.role is Role.CLIENT and one.revoked is None and one.id != call.member.id
    ]
    return Peers(tuple(_peer(one, given.get(one.id, ())) for one in others))


def _peer(member: Member, given: tuple[vouches.Vouch, ...]) -> Peer:
    signed = tuple(Vouch(one.by, b64encode(one.signature).decode()) for one in given)
    return Peer(member.id, member.name, b64encode(member.public_key).decode(), signed)


async def vouch(call: Call) -> Nothing:
    """A client's signature that a peer's key is the peer's."""
    here, body = call.coordinator, call.body
    assert isinstance(body, Vouching)
    subject = here.members.get(call.path.id)
    if subject is None or subject.role is not Role.CLIENT or subject.revoked is not None:
        raise TacitError("member.none", member=call.path.id)
    if subject.id == call.member.id:
        raise TacitError("member.self", name=subject.name)
    text = vouch_text(subject.id, subject.name)
    if not signed_by(call.member.public_key, text, body.signature):
        raise TacitError("member.vouch", name=call.member.name)

    def write() -> None:
        with here.database.begin() as connection:
            raw = b64decode(body.signature)
            vouches.add(connection, subject.id, call.member.id, raw)

    async with here.lock:
        await here.offload(write)
    return Nothing()
