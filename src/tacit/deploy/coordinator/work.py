"""What a client is to do: a pure function of the runs' states and the member."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tacit.deploy.coordinator.book import Book
from tacit.deploy.coordinator.run import deadline
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Consider, Fate, Open, Over, Participant, Poll, Task, Turn


class Desk(NamedTuple):
    """What the function reads: open runs by id, runs that are over, members, settings."""

    books: Mapping[str, Book]
    over: Mapping[str, str]
    members: Mapping[str, Member]
    inlined: Mapping[str, str]
    grace: float


def tasks(desk: Desk, member: Member, poll: Poll) -> tuple[Task, ...]:
    """Everything that waits for this member; a turn is offered as long as it is waited for."""
    found: list[Task] = []
    decided = frozenset(poll.decided)
    for run in dict.fromkeys([*poll.decided, *(one.run for one in poll.open)]):
        if run in desk.over:
            found.append(Over(run, desk.over[run]))
    for book in desk.books.values():
        index = book.index.get(member.id)
        if index is None or index in book.left:
            if book.row.id not in decided and wanted(book, member):
                found.append(_consider(desk, book))
        elif index not in book.aside and (round_ := book.waits_for(index)) is not None:
            found.append(_turn(desk, book, index, round_))
    return tuple(found)


def fates(books: Mapping[str, Book], member: Member, asked: Iterable[Open]) -> tuple[Fate, ...]:
    """What became of the member's answers, as far as it is known."""
    found = []
    for one in asked:
        book = books.get(one.run)
        index = None if book is None else book.index.get(member.id)
        if book is None or index is None:
            found.append(Fate(one.run, one.round, False, "round.foreign"))
            continue
        code = book.fate(index, one.round, one.digest)
        if code is not None:
            found.append(Fate(one.run, one.round, not code, code))
    return tuple(found)


def wanted(book: Book, member: Member) -> bool:
    """Whether the run has a place for this member, which has not refused it."""
    if book.over or member.id in book.refusals:
        return False
    return place_for(book, member) is not None


def place_for(book: Book, member: Member) -> int | None:
    """The place that a member has or would get: by its name where the run lists names."""
    if member.id in book.index:
        return book.index[member.id]
    if book.row.clients:
        named = book.row.clients
        return named.index(member.name) if member.name in named else None
    free = len(book.places)
    return free if free < book.plan.federation.clients else None


def participants(book: Book, cohort: Iterable[int]) -> tuple[Participant, ...]:
    """The signed statements of those in a cohort who have joined."""
    return tuple(book.places[client] for client in cohort if client in book.places)


def _consider(desk: Desk, book: Book) -> Consider:
    row, by = book.row, desk.members[book.row.by]
    key = b64encode(by.public_key).decode()
    facts = (row.description, row.digest, row.dataset, row.seed, book.signature)
    return Consider(row.id, row.name, by.id, by.name, key, *facts)


def _turn(desk: Desk, book: Book, index: int, round_: int) -> Turn:
    offer = book.offers[round_]
    cohort = tuple(sorted(book.places)) if book.law else book.machine.cohort
    return Turn(
        run=book.row.id,
        round=round_,
        index=index,
        offer=offer.offer,
        offer_size=offer.size,
        cohort=cohort,
        participants=participants(book, cohort),
        deadline=deadline(book, desk.grace),
        offer_bytes=desk.inlined.get(offer.offer),
    )
