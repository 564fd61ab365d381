"""Files that no run needs any more: superseded models, answers that do not count, cut uploads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from tacit.deploy.coordinator.book import Book
from tacit.deploy.coordinator.offload import Offload
from tacit.deploy.store.blobs import Blobs


class Host(Protocol):
    """What tidying needs of the coordinator."""

    blobs: Blobs
    offload: Offload
    lock: asyncio.Lock
    inlined: dict[str, str]

    def used(self) -> set[str]:
        """Digests of all blobs that some run still needs."""
        ...


async def clear(host: Host, digests: Iterable[str]) -> None:
    """Remove those of these blobs that nobody needs.

    Under the lock: whoever journals a blob makes sure, under the lock, that it is still there.
    """
    async with host.lock:
        gone = set(digests) - host.used() - {""}
        for digest in gone:
            host.inlined.pop(digest, None)
        await host.offload(lambda: _delete(host.blobs, gone))


async def sweep(
    blobs: Blobs, offload: Offload, books: Mapping[str, Book], needed: set[str]
) -> None:
    """Whatever is left over goes; only for the one coordinator of a store, before it begins.

    `books` are the open runs, `needed` all blobs that stay.
    """
    waited = _waited(books)
    await offload(lambda: _sweep(blobs, needed, waited))


def needs(book: Book) -> set[str]:
    """Blobs of a run: of one that is over only the newest model, unless it may be resumed."""
    found = {digest for one in book.offered for digest in (one.state, one.offer)}
    if not book.over or book.resumable:
        found |= {book.start, *book.machine.answered.values()}
    return found


async def abandoned(blobs: Blobs, offload: Offload, books: Mapping[str, Book]) -> None:
    """Uploads that were never finished go as soon as nobody waits for them any more."""
    waited = _waited(books)
    await offload(lambda: _discard(blobs, waited))


def _sweep(blobs: Blobs, keep: set[str], waited: set[str]) -> None:
    blobs.sweep(float("inf"))
    _delete(blobs, {digest for digest in blobs.digests() if digest not in keep})
    _discard(blobs, waited)


def _discard(blobs: Blobs, waited: set[str]) -> None:
    for name in blobs.spool.names():
        if name.rpartition("-")[0] not in waited:
            blobs.spool.discard(name)


def _waited(books: Mapping[str, Book]) -> set[str]:
    """Beginnings of the names of uploads that are still waited for."""
    found = {run for run, book in books.items() if book.outline is not None and not book.start}
    for run, book in books.items():
        found |= {f"{run}-{round_:x}-{client:x}" for client, round_ in book.asks()}
    return found


def _delete(blobs: Blobs, digests: Iterable[str]) -> None:
    blobs.delete(*digests)
