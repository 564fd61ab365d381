"""Handlers of clients: the long poll, joining and leaving, turns that failed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from msgspec import structs

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.book import SILENCE, Book
from tacit.deploy.coordinator.call import Call, malformed
from tacit.deploy.coordinator.run import failing, leaving
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.coordinator.work import fates, place_for, tasks
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Failure, Joined, Joining, Nothing, Poll, Work
from tacit.deploy.wire.statements import joining_text, signed_by

LOOKED = 20
"""Runs of one poll that are read from the store."""


async def work(call: Call) -> Work:
    """Wait until there is something to do. Nothing is read from disk while waiting."""
    here, poll, member = call.coordinator, call.body, call.member
    assert isinstance(poll, Poll)
    books, elsewhere = await _visible(here, dict.fromkeys(one.run for one in poll.open))
    poll = structs.replace(poll, open=tuple(o for o in poll.open if o.run not in elsewhere))
    with here.waiting(member, poll.wait) as until:
        while True:
            found = _work(here, member, poll, books)
            left = until - here.clock.now()
            if found.tasks or found.fates or left <= 0 or here.draining:
                return found
            await here.bells.wait(member.id, min(left, poll.wait))
            here.still(member)


async def _visible(here: Coordinator, runs: Iterable[str]) -> tuple[dict[str, Book], set[str]]:
    """Runs by id, and those whose fates are not told now.

    They are another coordinator's to tell, or it would take too long to read them all.
    """
    books: dict[str, Book] = {}
    elsewhere: set[str] = set()
    looked = 0
    for run in runs:
        looked += run not in here.books and run not in here.past
        if looked > LOOKED:
            elsewhere.add(run)
            continue
        try:
            found = await here.book(run)
        except TacitError as refused:
            if refused.code != "deploy.elsewhere":
                raise
            elsewhere.add(run)
            continue
        if found is not None:
            books[run] = found
    return books, elsewhere


def _work(here: Coordinator, member: Member, poll: Poll, books: dict[str, Book]) -> Work:
    here.seen[member.id] = here.clock.now()
    known_fates = fates({**books, **here.books}, member, poll.open)
    return Work(here.clock.now(), tasks(here.desk(), member, poll), known_fates)


async def joining(call: Call) -> Joined | Nothing:
    """A client's decision about a run."""
    here, body = call.coordinator, call.body
    assert isinstance(body, Joining)
    book = await open_run(here, call.path.run)
    async with here.lock:
        match body.decision:
            case "accept":
                return await _accept(here, book, call.member, body)
            case "refuse":
                await _refuse(here, book, call.member, body)
            case "leave":
                await _leave(here, book, call.member)
    return Nothing()


async def known_run(here: Coordinator, run: str) -> Book:
    """A run, over or not; `deploy.no-run`."""
    book = await here.book(run)
    if book is None:
        raise TacitError("deploy.no-run", run=run)
    return book


async def open_run(here: Coordinator, run: str) -> Book:
    """A run that is not over; `deploy.no-run`, `deploy.over`."""
    book = await known_run(here, run)
    if book.over:
        raise TacitError("deploy.over", run=run, status=book.status)
    return book


async def _accept(here: Coordinator, book: Book, member: Member, body: Joining) -> Joined:
    run = book.row
    if body.signature is None or body.dataset is None:
        raise malformed("an acceptance needs `dataset` and `signature`")
    if body.dataset != run.dataset:
        problem = f"the run asks for the data set {run.dataset}"
        raise TacitError("deploy.joining", name=member.name, problem=problem)
    text = joining_text(run.id, run.digest, member.id, body.dataset)
    if not signed_by(member.public_key, text, body.signature):
        raise TacitError("deploy.joining", name=member.name, problem="its signature does not hold")
    place = place_for(book, member)
    if place is None:
        raise TacitError("deploy.full", run=run.id, name=member.name)
    held = book.places.get(place)
    if held is None or place in book.left or held.signature != body.signature:
        if book.decisions.get(member.id, 0) >= here.settings.decisions:
            raise _undecided(here, book, member)
        draft = here.draft(book)
        draft.note(
            "joined",
            index=place,
            member=member.id,
            name=member.name,
            public_key=b64encode(member.public_key).decode(),
            signature=body.signature,
            dataset=body.dataset,
        )
        await here.commit(book, draft)
    return Joined(place)


async def _refuse(here: Coordinator, book: Book, member: Member, body: Joining) -> None:
    """A refusal; of a run that the member had joined it is a departure too."""
    told = {"member": member.id, "name": member.name, "reasons": list(body.reasons)}
    known = book.refusals.get(member.id) == told
    if known or (member.id not in book.index and place_for(book, member) is None):
        return
    draft = here.draft(book)
    undecided = book.decisions.get(member.id, 0) >= here.settings.decisions
    if not undecided:
        draft.note("refused", **told)
    index = book.index.get(member.id)
    if index is not None and index not in book.left:
        leaving(draft, index)
    await here.commit(book, draft)
    if undecided:
        raise _undecided(here, book, member)


def _undecided(here: Coordinator, book: Book, member: Member) -> TacitError:
    """The journal keeps every decision, so they are counted; leaving is always possible."""
    limit = here.settings.decisions
    return TacitError("deploy.decisions", name=member.name, run=book.row.id, limit=limit)


async def _leave(here: Coordinator, book: Book, member: Member) -> None:
    index = place_of(book, member)
    if index not in book.left:
        draft = here.draft(book)
        leaving(draft, index)
        await here.commit(book, draft)


def place_of(book: Book, member: Member) -> int:
    """The member's index in a run; `deploy.not-joined`."""
    index = book.index.get(member.id)
    if index is None:
        raise TacitError("deploy.not-joined", name=member.name, run=book.row.id)
    return index


async def failure(call: Call) -> Nothing:
    """A turn that failed at the client, or that its owner refused."""
    here, body = call.coordinator, call.body
    assert isinstance(body, Failure)
    if body.code in SILENCE:
        raise malformed(f"{body.code} is said of those who say nothing")
    book = await known_run(here, call.path.run)
    async with here.lock:
        index = place_of(book, call.member)
        if book.waits_for(index) == call.path.round and not book.knows(index, body.attempt):
            draft = here.draft(book)
            failing(draft, index, call.path.round, body)
            await here.commit(book, draft)
            here.bells.ring(call.member.id)
    return Nothing()
