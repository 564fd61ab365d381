"""Handlers of runs: submit, look, follow, stop, resume, result."""

from __future__ import annotations

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.book import Book, opened_book
from tacit.deploy.coordinator.call import Call
from tacit.deploy.coordinator.closing import planned
from tacit.deploy.coordinator.driver import LOG
from tacit.deploy.coordinator.run import stopping
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.coordinator.words import named, told
from tacit.deploy.store import journal, runs
from tacit.deploy.store.journal import Entry
from tacit.deploy.store.members import Member
from tacit.deploy.store.runs import RunRow
from tacit.deploy.wire.messages import (
    ClientState,
    EventFact,
    Events,
    Result,
    Role,
    RunDetail,
    RunFact,
    Runs,
    Submission,
)
from tacit.deploy.wire.statements import signed_by, submission_text
from tacit.plan.build import Plan

LISTED = 100
SHOWN = 500
"""Lines of a journal in one answer."""


async def submit(call: Call) -> RunFact:
    """Queue a run; the same submission again is the same run."""
    here, body = call.coordinator, call.body
    assert isinstance(body, Submission)
    known = await here.book(body.id)
    if known is not None:
        return _fact(here, _same(known, call.member, body))
    if len(here.books) >= here.settings.queue:
        raise TacitError("deploy.queue", open=len(here.books))
    text = submission_text(body.id, body.digest, body.dataset, body.seed, body.name)
    if not signed_by(call.member.public_key, text, body.signature):
        raise TacitError("member.submission", name=call.member.name)
    plan = await here.offload(lambda: _planned(body))
    facts = (body.digest, body.federation, call.member.id, here.clock.now(), body.seed)
    row = RunRow(body.id, body.name, *facts, body.clients, body.dataset, "waiting")
    async with here.lock:
        here.still(call.member)
        if body.id in here.books:
            return _fact(here, _same(here.books[body.id], call.member, body))
        book = opened_book(row, plan)
        draft = here.draft(book)
        signed = {"outline": body.outline, "signature": body.signature}
        draft.note("submitted", by=call.member.name, **signed)
        await here.admit(row, book, draft)
    LOG.info("submitted", run=row.id, by=call.member.id)
    return _fact(here, book)


def _same(book: Book, member: Member, body: Submission) -> Book:
    row = book.row
    now = (body.name, body.digest, member.id, body.seed, body.clients, body.dataset)
    if now != (row.name, row.digest, row.by, row.seed, row.clients, row.dataset):
        raise TacitError("deploy.run-differs", run=body.id)
    return book


def _planned(body: Submission) -> Plan:
    plan = planned(body.federation, body.digest, body.outline)
    clients = plan.federation.clients
    if body.clients and len(set(body.clients)) != clients:
        raise TacitError("deploy.clients", listed=len(body.clients), clients=clients)
    if len(set(body.clients)) != len(body.clients):
        raise TacitError("deploy.clients", listed=len(body.clients), clients=clients)
    if plan.form.ideal and body.seed is None:
        raise TacitError("deploy.secure-sum-simulated")
    return plan


async def listed(call: Call) -> Runs:
    """Runs, newest first; a researcher sees their own."""
    here = call.coordinator
    by = call.member.id if call.member.role is Role.RESEARCHER else None

    def read() -> tuple[RunRow, ...]:
        with here.database.read() as connection:
            return runs.listed(connection, LISTED, call.query.before or None, by)

    rows = await here.offload(read)
    found = []
    for row in rows:
        book = here.books.get(row.id) or here.past.get(row.id)
        found.append(_fact(here, book) if book else _brief(here, row))
    return Runs(tuple(found))


async def seen_by(call: Call) -> Book:
    """The run of the path, if it is the member's to see."""
    book = await call.coordinator.book(call.path.run)
    researcher = call.member.role is Role.RESEARCHER
    if book is None or (researcher and book.row.by != call.member.id):
        raise TacitError("deploy.no-run", run=call.path.run)
    return book


async def show(call: Call) -> RunDetail:
    """A run with its clients, refusals and numbers by round."""
    here, book = call.coordinator, await seen_by(call)
    count = book.plan.federation.clients
    shown = sorted(set(range(min(count, SHOWN))) | set(book.places))
    return RunDetail(
        _fact(here, book),
        tuple(_client(here, book, client) for client in shown),
        tuple(book.refusals.values()),
        tuple(book.history),
        book.row.description,
    )


async def events(call: Call) -> Events:
    """Lines of the journal after one; waits for the next if there is none yet."""
    here, asked = call.coordinator, call.query
    book = await seen_by(call)
    with here.waiting(call.member, asked.wait) as until:
        while book.seq <= asked.after and not book.over and not here.draining:
            left = until - here.clock.now()
            if left <= 0:
                break
            await here.bells.wait(f"run {book.row.id}", min(left, asked.wait))
            here.still(call.member)
            book = await seen_by(call)

    def read() -> tuple[Entry, ...]:
        with here.database.read() as connection:
            return journal.entries(connection, book.row.id, asked.after, SHOWN)

    lines = await here.offload(read) if book.seq > asked.after else ()
    return Events(tuple(_line(book, one) for one in lines), book.status)


def _line(book: Book, one: Entry) -> EventFact:
    return EventFact(one.seq, one.at, one.kind, told(book, one.kind, one.body), one.body)


async def stop(call: Call) -> RunFact:
    """End a run; what was learnt so far stays."""
    here, book = call.coordinator, await seen_by(call)
    async with here.lock:
        if not book.over:
            draft = here.draft(book)
            stopping(draft, f"asked by {call.member.name}")
            await here.commit(book, draft)
    return _fact(here, book)


async def resume(call: Call) -> RunFact:
    """Go on with a run that was stopped or ran out of answers; nobody is set aside any more."""
    here, book = call.coordinator, await seen_by(call)
    async with here.lock:
        if book.status == "finished" or (book.over and not book.resumable):
            raise TacitError("deploy.over", run=book.row.id, status=book.status)
        if not (book.over or book.aside or book.strikes):
            return _fact(here, book)
        draft = here.draft(book)
        was_over = book.over
        draft.note("resumed", by=call.member.name)
        if was_over:
            await here.revive(book, draft)
        else:
            await here.commit(book, draft)
    return _fact(here, book)


async def result(call: Call) -> Result:
    """Where the newest model is."""
    here, book = call.coordinator, await seen_by(call)
    kept = book.kept
    if kept is None:
        raise TacitError("deploy.no-result", run=book.row.id)
    done = len(book.history)
    here.remembered(book)
    return Result(book.status, kept.offer, kept.size, done, tuple(book.history))


def _fact(here: Coordinator, book: Book) -> RunFact:
    row, plan = book.row, book.plan
    by = here.members.get(row.by)
    return RunFact(
        id=row.id,
        name=row.name,
        digest=row.digest,
        status=book.status,
        by=row.by,
        by_name=by.name if by else row.by,
        submitted=row.submitted,
        dataset=row.dataset,
        rounds=plan.team.rounds,
        round=min(book.machine.round, plan.team.rounds),
        clients=plan.team.clients,
        joined=book.joined,
        rehearsal=row.seed is not None,
        seed=row.seed,
        why=book.why,
    )


def _brief(here: Coordinator, row: RunRow) -> RunFact:
    """Of a run that is not in memory, from its row alone."""
    described, by = row.description, here.members.get(row.by)
    rounds = int(described.get("rounds", 0))
    return RunFact(
        id=row.id,
        name=row.name,
        digest=row.digest,
        status=row.status,
        by=row.by,
        by_name=by.name if by else row.by,
        submitted=row.submitted,
        dataset=row.dataset,
        rounds=rounds,
        round=rounds if row.status == "finished" else 0,
        clients=int(described.get("clients", 0)),
        joined=0,
        rehearsal=row.seed is not None,
        seed=row.seed,
    )


def _client(here: Coordinator, book: Book, client: int) -> ClientState:
    place = book.places.get(client)
    seen = here.seen.get(place.member) if place else None
    return ClientState(client, named(book, client), _state(book, client), seen)


def _state(book: Book, client: int) -> str:
    """What a place does, in one word or two."""
    run = book.machine
    states = (
        (client not in book.places, "not joined"),
        (client in book.left, "left"),
        (client in book.aside, "set aside"),
        (book.over, "done"),
        (client in run.answered, "answered"),
        (client in run.failed, run.failed.get(client, "")),
        (book.waits_for(client) is not None, "asked"),
    )
    return next((state for holds, state in states if holds), "idle")
