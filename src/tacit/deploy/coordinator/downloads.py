"""Handler of files: offers for those who take part, models for those whose run it is."""

from __future__ import annotations

import re

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.book import Book
from tacit.deploy.coordinator.call import Call, File
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.store import runs
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Role

_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})\Z")
LOOKED = 50
"""Runs of a researcher that are searched for a model."""


async def blob(call: Call) -> File:
    """A file by its digest, or a range of it."""
    here, digest = call.coordinator, call.path.digest
    if not await _readable(here, call.member, digest):
        raise TacitError("deploy.no-blob", digest=digest)
    source = await here.offload(lambda: here.blobs.source(digest))
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    return File(source, size, _span(call.headers.get("range", ""), size))


async def _readable(here: Coordinator, member: Member, digest: str) -> bool:
    """Offers and models only: states and answers are nobody's to read."""
    if any(_may(book, member, digest) for book in here.books.values()):
        return True
    if member.role is Role.CLIENT:
        return False
    if any(_may(book, member, digest) for book in here.past.values()):
        return True
    for run in await here.offload(lambda: _newest(here, member)):
        book = await here.book(run) if run in here.over else None
        if book is not None and _may(book, member, digest):
            return True
    return False


def _newest(here: Coordinator, member: Member) -> tuple[str, ...]:
    by = member.id if member.role is Role.RESEARCHER else None
    with here.database.read() as connection:
        return tuple(row.id for row in runs.listed(connection, LOOKED, None, by))


def _may(book: Book, member: Member, digest: str) -> bool:
    offered = {held.offer for held in book.offers.values()}
    if book.kept is not None:
        offered.add(book.kept.offer)
    if digest not in offered:
        return False
    match member.role:
        case Role.OPERATOR:
            return True
        case Role.RESEARCHER:
            return book.row.by == member.id
        case Role.CLIENT:
            index = book.index.get(member.id)
            return index is not None and index not in book.left
    return False


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """The one range that is asked for; several, or other units, are ignored (RFC 9110, 14.2)."""
    found = _RANGE.match(asked)
    if found is None:
        return None
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if start >= size or end <= start:
        raise TacitError("deploy.range", size=size)
    return start, min(end, size)
