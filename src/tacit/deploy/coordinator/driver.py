"""The arithmetic of open runs, beside everything else: begin, draw, close.

It computes without the lock; what it found is committed only if the run still waits for it.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from traceback import format_exc
from typing import Any, Protocol, TypeVar, final

import structlog

from tacit.base.errors import TacitError
from tacit.deploy.clock import Clock
from tacit.deploy.coordinator.book import Book, Kept
from tacit.deploy.coordinator.closing import begun, closed
from tacit.deploy.coordinator.metrics import Metrics
from tacit.deploy.coordinator.offload import Offload
from tacit.deploy.coordinator.run import Draft, closing, due, stopping
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.coordinator.sums import Stored, Sum
from tacit.deploy.coordinator.tidy import clear
from tacit.deploy.store.blobs import Blobs, Source
from tacit.round.events import Close, Draw

T = TypeVar("T")

Work = Callable[[], Coroutine[Any, Any, None]]

LOG = structlog.get_logger("tacit.coordinator")

PAUSE = 5.0
"""Seconds until a store that failed is tried again."""


class Host(Protocol):
    """What the arithmetic needs of the coordinator."""

    blobs: Blobs
    clock: Clock
    settings: Settings
    offload: Offload
    fresh: Callable[[int], bytes]
    lock: asyncio.Lock
    metrics: Metrics
    inlined: dict[str, str]
    draining: bool

    @property
    def books(self) -> Mapping[str, Book]:
        """The open runs."""
        ...

    def draft(self, book: Book) -> Draft:
        """What is about to happen to a run."""
        ...

    async def commit(self, book: Book, draft: Draft) -> None:
        """Write a draft and fold it in."""
        ...

    def used(self) -> set[str]:
        """Digests of all blobs that some run still needs."""
        ...


@final
class Driver:
    """One task at a time and run."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._retry: dict[str, float] = {}

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._busy:
            await asyncio.gather(*self._busy.values())

    async def cancel(self) -> None:
        """End what is under way: the journal knows where to go on."""
        tasks = tuple(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def inline(
        self, kept: Iterable[Kept | Stored], small: Mapping[str, bytes] | None = None
    ) -> None:
        """Have small offers at hand: they travel with the turn. `small`: those not written yet."""
        for one in kept:
            if one.size < self.host.settings.inline and one.offer not in self.host.inlined:
                raw = (small or {}).get(one.offer)
                if raw is None:
                    raw = await self.host.offload(partial(self._bytes, one.offer))
                self.host.inlined[one.offer] = b64encode(raw).decode()

    def _bytes(self, digest: str) -> bytes:
        source = self.host.blobs.source(digest)
        return source if isinstance(source, bytes) else source.read_bytes()

    def drive(self, book: Book) -> None:
        """Begin or close what is due; it runs beside everything else."""
        run = book.row.id
        if run in self._busy or self.host.draining:
            return
        if book.outdated:
            self._spawn(book, partial(self._clear, book))
            return
        if run not in self.host.books:
            return
        if self.host.clock.now() < self._retry.get(run, 0.0):
            return
        if book.status == "waiting":
            if self._ready(book):
                self._spawn(book, partial(self._begin, book))
            return
        effect = due(book)
        if isinstance(effect, Close):
            self._spawn(book, partial(self._close, book, effect))
        elif isinstance(effect, Draw):
            self._spawn(book, partial(self._draw, book))

    def _ready(self, book: Book) -> bool:
        """All clients have joined, or enough and the others had their time."""
        if book.outline is not None and not book.start:
            return False
        waited = self.host.clock.now() - book.row.submitted >= self.host.settings.assemble
        team = book.plan.team
        return book.joined >= (team.quorum if waited else team.clients)

    def _spawn(self, book: Book, work: Work) -> None:
        run = book.row.id
        task = asyncio.get_running_loop().create_task(self._guarded(book, work))
        self._busy[run] = task

        def done(ended: asyncio.Task[None]) -> None:
            del self._busy[run]
            if not ended.cancelled():
                self.drive(book)

        task.add_done_callback(done)

    async def _guarded(self, book: Book, work: Work) -> None:
        """A store that fails is tried again; anything else ends this run and no other."""
        try:
            await work()
            self._retry.pop(book.row.id, None)
        except TacitError as failed:
            if failed.code == "deploy.elsewhere":
                return
            if failed.code.startswith("store.") and failed.code != "store.blob-missing":
                self._retry[book.row.id] = self.host.clock.now() + PAUSE
                LOG.warning("close", run=book.row.id, code=failed.code, cause=failed.cause)
                return
            await self._break(book, failed.code, failed.cause)
        except Exception as failed:  # noqa: BLE001  # one run's arithmetic ends no other run
            incident = self.host.fresh(8).hex()
            trace = format_exc()  # as text: a logger that prints local variables prints data
            LOG.critical("close", run=book.row.id, incident=incident, trace=trace)
            found = TacitError("deploy.internal", incident=incident)
            await self._break(book, found.code, f"{found.cause} {type(failed).__name__}")

    async def _break(self, book: Book, code: str, cause: str) -> None:
        async with self.host.lock:
            draft = self.host.draft(book)
            draft.note("broken", code=code, cause=cause)
            stopping(draft, code)
            await self.host.commit(book, draft)

    async def _begin(self, book: Book) -> None:
        def compute() -> Stored:
            start = self.host.blobs.local(book.start) if book.start else None
            return begun(book.plan, book.key, start, self.host.blobs)

        found = await self.host.offload(compute)
        async with self.host.lock:
            if book.status != "waiting" or not await self._there(found):
                return
            draft = self.host.draft(book)
            draft.small |= found.small
            draft.note("kept", round=0, row={}, **asdict(found.kept))
            draft.draw()
            await self.inline([found], found.small)
            await self.host.commit(book, draft)

    async def _draw(self, book: Book) -> None:
        async with self.host.lock:
            if isinstance(due(book), Draw):
                draft = self.host.draft(book)
                draft.draw()
                await self.host.commit(book, draft)

    async def _close(self, book: Book, effect: Close) -> None:
        run, before = book.machine, book.kept
        assert before is not None
        answers = tuple(run.answered[client] for client in effect.included)
        round_ = effect.round
        ages = tuple(round_ - run.versions.get(client, round_) for client in effect.included)
        key = book.key / "round" / round_ / "open"

        def compute() -> tuple[Stored, dict[str, float]]:
            state, offer, *rows = self.host.blobs.sources((before.state, before.offer, *answers))
            what = Sum(book.plan, state, offer, tuple(rows), ages, key, round_)
            found, row = closed(what, self.host.blobs)
            return found, {"bytes_up": float(sum(map(_size, rows))), **row}

        found, row = await self.host.offload(compute)
        async with self.host.lock:
            if due(book) != effect or not await self._there(found):
                return
            draft = self.host.draft(book)
            told = {
                "round": float(round_ + 1),
                "seconds": draft.now - book.row.submitted,
                "answers": float(len(answers)),
                "failed": float(len(book.machine.failed)),
                "staleness": sum(ages) / len(ages),
            }
            if not book.law:
                del told["staleness"]
            draft.small |= found.small
            closing(draft, effect, asdict(found.kept), {**told, **row})
            await self.inline([found], found.small)
            await self.host.commit(book, draft)
            self.host.metrics.rounds.inc()

    async def _there(self, found: Stored) -> bool:
        """Whether no other run, of which the blobs were too, had them removed meanwhile."""
        written = {found.state, found.offer} - found.small.keys()
        has = self.host.blobs.has
        return not written or await self.host.offload(lambda: all(map(has, written)))

    async def _clear(self, book: Book) -> None:
        """Remove what the run has no use for any more."""
        outdated, book.outdated = book.outdated, set()
        await clear(self.host, outdated)


def _size(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size
