"""Handlers of answers and starts: uploads that resume, checked before they count."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.book import Book
from tacit.deploy.coordinator.call import Call
from tacit.deploy.coordinator.clients import known_run, open_run, place_of
from tacit.deploy.coordinator.closing import LARGEST, answer_limit, checked, uploaded
from tacit.deploy.coordinator.run import answering, failing
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Failure, Offset

BATCH = 1 << 20
"""Bytes that are written at once."""


@final
@dataclass(frozen=True)
class Place:
    """Whose answer of which round an upload is."""

    book: Book
    member: Member
    index: int
    round: int

    def name(self, digest: str) -> str:
        """Of the upload: what the same answer continues, and no other."""
        return f"{self.prefix}{digest}"

    @property
    def prefix(self) -> str:
        """What all uploads to this place have in common."""
        return f"{self.book.row.id}-{self.round:x}-{self.index:x}-"


async def answer_offset(call: Call) -> Offset:
    """How many bytes of an answer are here."""
    here, asked = call.coordinator, call.query
    place = await _place(call)
    if _counted(place, asked.digest):
        return Offset(asked.size, True)
    _expected(place, asked.size)
    return Offset(await here.offload(lambda: here.blobs.spool.offset(place.name(asked.digest))))


async def answer(call: Call) -> Offset:
    """Bytes of an answer; the last ones make it count."""
    here, asked = call.coordinator, call.query
    place = await _place(call)
    if _counted(place, asked.digest):
        return Offset(asked.size, True)
    _expected(place, asked.size)
    name = place.name(asked.digest)
    if asked.offset == 0:
        await here.offload(lambda: _alone(here, place.prefix, name))
    end = await _received(call, name)
    if end < asked.size:
        return Offset(end)
    await here.offload(lambda: here.blobs.spool.finish(name, asked.digest, asked.size))
    await _check(here, place, asked.digest)
    await _count(here, place, asked.digest)
    return Offset(end, True)


async def _place(call: Call) -> Place:
    book = await known_run(call.coordinator, call.path.run)
    return Place(book, call.member, place_of(book, call.member), call.path.round)


def _counted(place: Place, digest: str) -> bool:
    """Whether this very answer counts already; another one in its place is refused."""
    book, run = place.book, place.book.machine
    here = run.versions.get(place.index, run.round) == place.round
    held = run.answered.get(place.index) if here else None
    if held is None:
        fate = book.fate(place.index, place.round, digest)
        if fate == "round.answered-twice":
            raise _twice(place)
        return fate == ""
    if held != digest:
        raise _twice(place)
    return True


def _twice(place: Place) -> TacitError:
    return TacitError("round.answered-twice", client=place.member.name, round=place.round + 1)


def _expected(place: Place, size: int) -> None:
    named = {"client": place.member.name, "round": place.round + 1}
    if place.book.waits_for(place.index) != place.round:
        raise TacitError("round.not-asked", **named)
    limit = answer_limit(place.book.plan)
    if size > limit:
        raise TacitError("deploy.answer-size", size=size, limit=limit, **named)


def _alone(here: Coordinator, prefix: str, name: str) -> None:
    """One upload a place: an earlier one with other bytes is given up."""
    for other in here.blobs.spool.names():
        if other.startswith(prefix) and other != name:
            here.blobs.spool.discard(other)


async def _received(call: Call, name: str) -> int:
    """Append the body at its offset, piece by piece; gives the new end."""
    here, asked, offset = call.coordinator, call.query, int(call.query.offset)
    held, digest = bytearray(), hashlib.sha256()

    async def flush() -> None:
        nonlocal offset
        pieces = (bytes(held),)
        held.clear()
        here.seen[call.member.id] = here.clock.now()
        offset = await here.offload(
            lambda: here.blobs.spool.append(name, offset, pieces, asked.size)
        )

    assert call.stream is not None
    async for piece in call.stream:
        digest.update(piece)
        held += piece
        if len(held) >= BATCH:
            await flush()
    await flush()
    if digest.digest() != call.digest:
        await here.offload(lambda: here.blobs.spool.discard(name))
        raise TacitError("request.digest")
    return offset


async def _check(here: Coordinator, place: Place, digest: str) -> None:
    """An answer that does not fit the plan is its client's failed turn, and nobody else's."""
    book, client = place.book, place.member.name
    try:
        await here.offload(
            lambda: checked(book.plan, here.blobs.local(digest), client, place.round)
        )
    except TacitError as refused:
        if refused.code.startswith("store."):
            raise
        async with here.lock:
            if book.waits_for(place.index) == place.round:
                draft = here.draft(book)
                told = Failure("answer", refused.code, (refused.cause,))
                failing(draft, place.index, place.round, told)
                await here.commit(book, draft)
            unused = digest not in here.used()
        if unused:
            await here.offload(lambda: here.blobs.delete(digest))
        here.bells.ring(place.member.id)
        raise


async def _count(here: Coordinator, place: Place, digest: str) -> None:
    """The blob is durable: journal the answer, unless the round was settled meanwhile."""
    async with here.lock:
        if _counted(place, digest):
            return
        if place.book.waits_for(place.index) != place.round:
            raise TacitError("round.not-asked", client=place.member.name, round=place.round + 1)
        draft = here.draft(place.book)
        answering(draft, place.index, place.round, digest)
        await here.commit(place.book, draft)


async def start_offset(call: Call) -> Offset:
    """How many bytes of a start are here."""
    here, asked = call.coordinator, call.query
    book = await _own(call)
    if book.start == asked.digest:
        return Offset(asked.size, True)
    return Offset(await here.offload(lambda: here.blobs.spool.offset(_start(book, asked.digest))))


async def start(call: Call) -> Offset:
    """Bytes of the start of a model whose task is user code."""
    here, asked = call.coordinator, call.query
    book = await _own(call)
    if book.start == asked.digest:
        return Offset(asked.size, True)
    if book.outline is None or book.start or asked.size > LARGEST:
        raise TacitError("deploy.no-start", run=book.row.id)
    name = _start(book, asked.digest)
    end = await _received(call, name)
    if end < asked.size:
        return Offset(end)
    await here.offload(lambda: here.blobs.spool.finish(name, asked.digest, asked.size))
    look: Callable[[], Any] = lambda: uploaded(book.plan, here.blobs.local(asked.digest))  # noqa: E731
    await here.offload(look)
    async with here.lock:
        if not book.start and book.status == "waiting":
            draft = here.draft(book)
            draft.note("start", digest=asked.digest)
            await here.commit(book, draft)
    return Offset(end, True)


def _start(book: Book, digest: str) -> str:
    return f"{book.row.id}-{digest}"


async def _own(call: Call) -> Book:
    book = await open_run(call.coordinator, call.path.run)
    if book.row.by != call.member.id:
        raise TacitError("deploy.no-run", run=call.path.run)
    return book
