"""Handlers of answers and starts: uploads that resume, checked before they count."""

from __future__ import annotations

import hashlib
from functools import partial

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.arrivals import Arrival, Place
from tacit.deploy.coordinator.book import Book
from tacit.deploy.coordinator.call import Call
from tacit.deploy.coordinator.clients import known_run, open_run, place_of
from tacit.deploy.coordinator.closing import answer_limit, checked, start_limit, uploaded
from tacit.deploy.coordinator.run import answering, failing
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.wire.messages import Failure, Offset
from tacit.round.state import Phase

BATCH = 1 << 20
"""Bytes that are written at once."""


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
    if asked.offset == 0 and asked.size <= here.blobs.small:
        return await _small_answer(call, place)
    if asked.offset == 0:
        await _alone(here, place.prefix, name)
    end = await _received(call, name)
    if end < asked.size:
        return Offset(end)
    await here.offload(lambda: here.blobs.spool.finish(name, asked.digest, asked.size))
    await _check(here, place, asked.digest)
    await _count(here, Arrival(place, asked.digest))
    return Offset(end, True)


async def _small_answer(call: Call, place: Place) -> Offset:
    """A whole answer in one request: it becomes durable with the line that says so."""
    here, asked, held = call.coordinator, call.query, bytearray()
    name = place.name(asked.digest)
    assert call.stream is not None
    async for piece in call.stream:
        held += piece
        if len(held) > asked.size:
            raise TacitError("store.too-large", name=name, limit=asked.size)
    content, digest = bytes(held), hashlib.sha256(held)
    if digest.digest() != call.digest:
        raise TacitError("request.digest")
    here.seen[call.member.id] = here.clock.now()
    if len(content) < asked.size:
        spool = here.blobs.spool
        return Offset(await here.offload(lambda: spool.append(name, 0, (content,), asked.size)))
    if digest.hexdigest() != asked.digest:
        raise TacitError("store.digest", name=name)
    await _alone(here, place.prefix)
    await _check(here, place, asked.digest, content)
    await _count(here, Arrival(place, asked.digest, content))
    return Offset(asked.size, True)


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


async def _alone(here: Coordinator, prefix: str, name: str = "") -> None:
    """One upload a place: an earlier one with other bytes is given up."""
    spool = here.blobs.spool
    for other in spool.beginning(prefix):
        if other != name:
            await here.offload(partial(spool.discard, other))


async def _received(call: Call, name: str) -> int:
    """Append the body at its offset, piece by piece; gives the new end."""
    here, asked, offset = call.coordinator, call.query, int(call.query.offset)
    held, digest = bytearray(), hashlib.sha256()

    async def flush() -> None:
        nonlocal offset
        pieces = (bytes(held),)
        held.clear()
        here.still(call.member)
        here.seen[call.member.id] = here.clock.now()
        offset = await here.offload(
            lambda: here.blobs.spool.append(name, offset, pieces, asked.size)
        )

    assert call.stream is not None
    try:
        async for piece in call.stream:
            digest.update(piece)
            held += piece
            if len(held) >= BATCH:
                await flush()
    finally:  # what came before a cut stays, or short connections would never get on
        await flush()
    if digest.digest() != call.digest:
        await here.offload(lambda: here.blobs.spool.discard(name))
        raise TacitError("request.digest")
    return offset


async def _check(
    here: Coordinator, place: Place, digest: str, content: bytes | None = None
) -> None:
    """An answer that does not fit the plan is its client's failed turn, and nobody else's."""
    book, client = place.book, place.member.name
    try:
        if content is not None:
            checked(book.plan, content, client, place.round)
        else:
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
        if unused and content is None:
            await here.offload(lambda: here.blobs.delete(digest))
        here.bells.ring(place.member.id)
        raise


async def _count(here: Coordinator, mine: Arrival) -> None:
    """The blob is durable or small: journal the answer, unless the round was settled meanwhile.

    Answers that come while another commit is under way share the next one. Each is settled by
    whoever holds the lock, and reported only when its own line is on the disk.
    """
    here.arrivals.append(mine)
    try:
        while not mine.settled:
            async with here.lock:
                if not mine.settled:
                    await _count_together(here, mine.place.book)
    finally:
        here.arrivals.remove(mine)
    if mine.refused is not None:
        raise mine.refused


async def _count_together(here: Coordinator, book: Book) -> None:
    """One transaction for what has arrived for a run, as long as its round takes answers."""
    draft, group = here.draft(book), dict[int, Arrival]()
    for one in tuple(here.arrivals):
        if one.place.book is not book or one.settled or one.place.index in group:
            continue
        if group and draft.machine.phase is not Phase.COLLECTING:
            break
        if await _counts(here, one):
            group[one.place.index] = one
            answering(draft, one.place.index, one.place.round, one.digest)
            if one.content is not None:
                draft.small[one.digest] = one.content
    refused = None
    try:
        await here.commit(book, draft)
    except TacitError as failed:
        refused = failed
    for one in group.values():
        one.settle(refused)


async def _counts(here: Coordinator, one: Arrival) -> bool:
    """Whether an answer is new and waited for; otherwise it is settled here."""
    try:
        new = await _new(here, one)
    except TacitError as failed:
        one.settle(failed)
        return False
    if not new:
        one.settle()
    return new


async def _new(here: Coordinator, one: Arrival) -> bool:
    place = one.place
    here.still(place.member)
    if _counted(place, one.digest):
        return False
    if place.book.waits_for(place.index) != place.round:
        raise TacitError("round.not-asked", client=place.member.name, round=place.round + 1)
    if one.content is None and not await here.offload(lambda: here.blobs.has(one.digest)):
        why = "another run had the same file removed"
        raise TacitError("store.busy", place="The upload", why=why)
    return True


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
    if book.outline is None or book.start:
        raise TacitError("deploy.no-start", run=book.row.id)
    if asked.size > start_limit(book.plan):
        raise TacitError("deploy.too-large", limit=start_limit(book.plan))
    name = _start(book, asked.digest)
    if asked.offset == 0:
        await _alone(here, f"{book.row.id}-", name)
    end = await _received(call, name)
    if end < asked.size:
        return Offset(end)
    await here.offload(lambda: here.blobs.spool.finish(name, asked.digest, asked.size))
    await _look(here, book, asked.digest)
    async with here.lock:
        here.still(call.member)
        if not book.start and book.status == "waiting":
            draft = here.draft(book)
            draft.note("start", digest=asked.digest)
            await here.commit(book, draft)
    return Offset(end, True)


async def _look(here: Coordinator, book: Book, digest: str) -> None:
    """A start that does not fit the plan is not kept."""
    try:
        await here.offload(lambda: uploaded(book.plan, here.blobs.local(digest)))
    except TacitError:
        async with here.lock:
            unused = digest not in here.used()
        if unused:
            await here.offload(lambda: here.blobs.delete(digest))
        raise


def _start(book: Book, digest: str) -> str:
    return f"{book.row.id}-{digest}"


async def _own(call: Call) -> Book:
    book = await open_run(call.coordinator, call.path.run)
    if book.row.by != call.member.id:
        raise TacitError("deploy.no-run", run=call.path.run)
    return book
