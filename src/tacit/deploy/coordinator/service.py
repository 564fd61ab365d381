"""The coordinator: open runs, members, and who waits for what. Thin: decisions are elsewhere.

Memory belongs to the event loop; files and SQL go through `offload`. Whoever changes anything
holds `lock`: it drafts from the state, writes the draft in one transaction, and folds it in.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from traceback import format_exc
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.deploy.clock import Clock
from tacit.deploy.coordinator import lasting
from tacit.deploy.coordinator.arrivals import Arrival
from tacit.deploy.coordinator.bells import Bells
from tacit.deploy.coordinator.book import OVER, Book, opened_book
from tacit.deploy.coordinator.closing import planned
from tacit.deploy.coordinator.driver import LOG, Driver
from tacit.deploy.coordinator.metrics import Metrics
from tacit.deploy.coordinator.offload import Offload, in_thread, unbroken
from tacit.deploy.coordinator.run import Draft, late, missing, stopping
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.coordinator.tidy import abandoned, needs, sweep
from tacit.deploy.coordinator.work import Desk
from tacit.deploy.store import journal, leases, members, runs
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import Database
from tacit.deploy.store.members import Member
from tacit.deploy.store.runs import RunRow
from tacit.deploy.wire.signing import Replays
from tacit.round.events import Ask, Discard, Effect, Include
from tacit.round.state import Phase

TIDY = 60.0
"""Seconds between two looks for uploads that nobody waits for."""

REMEMBERED = 100
"""Runs that are over and still held in memory."""


@final
class Coordinator:
    """See the module. `fresh(n)` gives n random bytes."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        clock: Clock,
        settings: Settings | None = None,
        fresh: Callable[[int], bytes] = os.urandom,
        offload: Offload = in_thread,
    ) -> None:
        self.database, self.blobs, self.clock = database, blobs, clock
        self.settings, self.fresh, self.offload = settings or Settings(), fresh, offload
        self.started = clock.now()
        self.replays = Replays(self.started, self.settings.window)
        self.metrics = Metrics()
        self.lock = asyncio.Lock()
        self.bells = Bells()
        self.members: dict[str, Member] = {}
        self.books: dict[str, Book] = {}
        self.past: OrderedDict[str, Book] = OrderedDict()
        self.over: dict[str, str] = {}
        self.lasting: dict[str, tuple[str, str]] = {}
        self.inlined: dict[str, str] = {}
        self.seen: dict[str, float] = {}
        self.polling: dict[str, int] = {}
        self.enrolments: list[float] = []
        self.arrivals: list[Arrival] = []
        self.document = b"{}"
        self.draining = False
        self.serving = 0
        self.driver = Driver(self)
        self._renewed = self._tidied = self.started
        self._holder = self.settings.holder or fresh(16).hex()

    async def start(self) -> None:
        """Read members and open runs, and go on with what was under way."""
        rows = await self.offload(self._read)
        if self.settings.holder and self.database.sqlite:
            await self._sweep(rows)
        for row in rows:
            await self._adopt(row)

    async def tick(self) -> None:
        """Look at the clock: deadlines, silent members, runs that may begin, leases."""
        now = self.clock.now()
        if now - self._renewed > self.settings.lease / 3 or now < self._renewed:
            self._renewed = now
            await self._renew()
        if now - self._tidied > TIDY or now < self._tidied:
            self._tidied = now
            await abandoned(self.blobs, self.offload, self.books)
        for book in tuple(self.books.values()):
            if self._timely(book):
                async with self.lock:
                    draft = self.draft(book)
                    late(draft, partial(self._silent, book, now))
                    await self.commit(book, draft)
            self.driver.drive(book)

    async def keep_time(self) -> None:
        """Tick for ever."""
        while True:
            try:
                await self.tick()
            except TacitError as failed:
                LOG.warning("tick", code=failed.code, cause=failed.cause)
            except Exception:  # noqa: BLE001  # without ticks no deadline would ever pass
                LOG.critical("tick", trace=format_exc())
            await self.clock.sleep(self.settings.tick)

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let those who wait go, and requests under way end."""
        self.draining = True
        self.bells.ring_all()
        until = self.clock.now() + seconds
        while self.serving and self.clock.now() < until:
            await self.clock.sleep(0.05)

    async def close(self) -> None:
        """Let those who wait go, and end what is under way: the journal knows where to go on."""
        self.draining = True
        self.bells.ring_all()
        await self.driver.cancel()
        held = tuple(self.books)
        await self.offload(lambda: self._release(held))

    def draft(self, book: Book) -> Draft:
        """What is about to happen to a run, now."""
        return Draft(book, self.settings, self.clock.now(), self._revoked)

    async def commit(self, book: Book, draft: Draft) -> None:
        """Write a draft and fold it in, all of it even if the request is gone. The lock is held."""
        if draft.lines:
            await unbroken(self._commit(book, draft))

    async def _commit(self, book: Book, draft: Draft) -> None:
        lines, small, seq, status = tuple(draft.lines), draft.small, book.seq, book.status
        try:
            await self.offload(lambda: self._append(book.row.id, lines, small, seq))
        except TacitError as failed:
            if failed.code == "store.conflict":
                self.books.pop(book.row.id, None)
                raise TacitError("deploy.elsewhere", run=book.row.id) from failed
            raise
        effects: list[Effect] = []
        for number, (line, known) in enumerate(zip(lines, draft.outcomes, strict=True), seq + 1):
            effects += book.absorb(number, *line, known)
        if book.status != status:
            await self._stands(book)
        self._tell(book, effects)
        self.driver.drive(book)

    async def admit(self, row: RunRow, book: Book, draft: Draft) -> None:
        """Take a new run in, with its first lines. The lock is held."""
        await unbroken(self._admit(row, book, draft))

    async def _admit(self, row: RunRow, book: Book, draft: Draft) -> None:
        lines = tuple(draft.lines)

        def write() -> None:
            with self.database.begin() as connection:
                runs.add(connection, row)
                leases.take(connection, row.id, self._holder, draft.now, self.settings.lease)
                journal.append(connection, row.id, lines)

        await self.offload(write)
        for number, line in enumerate(lines, 1):
            book.absorb(number, *line)
        self.books[row.id] = book
        self.bells.ring_all()

    def desk(self) -> Desk:
        """What `tacit.deploy.coordinator.work` reads."""
        return Desk(self.books, self.over, self.members, self.inlined, self.settings.grace)

    async def book(self, run: str) -> Book | None:
        """A run by its id, open or over; read back from its journal if need be."""
        found = self.books.get(run) or self.past.get(run)
        if found is not None:
            return found
        row = await self.offload(lambda: self._row(run))
        if row is None:
            return None
        if row.status not in OVER:
            raise TacitError("deploy.elsewhere", run=run)
        return self._remember(await self._load(row))

    def changed(self, member: Member) -> None:
        """A member is new, or other than before."""
        self.members[member.id] = member

    @contextmanager
    def waiting(self, member: Member, seconds: float) -> Iterator[float]:
        """A request of a member that may wait; gives until when. Of too many none waits."""
        self.polling[member.id] = count = self.polling.get(member.id, 0) + 1
        try:
            yield self.clock.now() + (seconds if count <= self.settings.polls else 0.0)
        finally:
            self.polling[member.id] -= 1
            self.seen[member.id] = self.clock.now()

    def still(self, member: Member) -> None:
        """A membership may have ended since its request was admitted; `member.revoked`."""
        if self._revoked(member.id):
            raise TacitError("member.revoked", name=member.name)

    async def without(self, member: Member) -> None:
        """A member is no longer: no round waits for it. The lock is held."""
        self.changed(member)
        for book in tuple(self.books.values()):
            index = book.index.get(member.id)
            if index is not None:
                draft = self.draft(book)
                missing(draft, index)
                await self.commit(book, draft)
        self.bells.ring_all()  # whatever this member waits for, it waits for no more

    async def revive(self, book: Book, draft: Draft) -> None:
        """Open a run again that was over. The lock is held."""
        run = book.row.id
        await self.commit(book, draft)
        self.past.pop(run, None)
        self.over.pop(run, None)
        self.lasting.pop(run, None)
        self.books[run] = book
        await self.driver.inline(book.offered)
        self.driver.drive(book)
        self.bells.ring_all()  # its clients, and those who have not joined, may be wanted

    def remembered(self, book: Book) -> None:
        """Keep a run at hand that is over: its files are asked for next."""
        if book.over:
            self._remember(book)

    def probe(self) -> None:
        """Raise what the store raises."""
        with self.database.read() as connection:
            runs.listed(connection, 1)

    def used(self) -> set[str]:
        """Digests of all blobs that some run still needs."""
        found = {digest for pair in self.lasting.values() for digest in pair}
        for book in (*self.books.values(), *self.past.values()):
            found |= needs(book)
        return found

    # -- reading -------------------------------------------------------------------------------

    def _read(self) -> tuple[RunRow, ...]:
        with self.database.read() as connection:
            self.members = {one.id: one for one in members.listed(connection)}
            ended = runs.with_status(connection, *OVER)
            self.over = {row.id: row.status for row in ended}
            self.lasting = lasting.kept(connection, self.over)
            return runs.with_status(connection, "waiting", "running")

    def _row(self, run: str) -> RunRow | None:
        with self.database.read() as connection:
            return runs.get(connection, run)

    async def _load(self, row: RunRow) -> Book:
        def load() -> Book:
            with self.database.read() as connection:
                entries = journal.entries(connection, row.id)
            outline = next((e.body["outline"] for e in entries if e.kind == "submitted"), None)
            book = opened_book(row, planned(row.description, row.digest, outline))
            for entry in entries:
                book.absorb(entry.seq, entry.at, entry.kind, entry.body)
            book.outdated.clear()
            return book

        return await self.offload(load)

    async def _sweep(self, rows: Iterable[RunRow]) -> None:
        """Before anything is under way: what a crash left behind goes."""
        opened = {row.id: await self._load(row) for row in rows}
        ended = [await self.book(run) for run, status in self.over.items() if status != "finished"]
        needed = {one for book in (*opened.values(), *filter(None, ended)) for one in needs(book)}
        await sweep(self.blobs, self.offload, opened, needed | self.used())

    async def _adopt(self, row: RunRow) -> None:
        """Go on with a run that another process, or an earlier life of this one, drove."""
        if not await self.offload(lambda: self._lease(row.id)):
            return
        book = await self._load(row)
        async with self.lock:
            self.books[row.id] = book
            if book.over:
                await self._stands(book)
                return
            draft = self.draft(book)
            draft.note("recovered")
            try:
                await self.driver.inline(book.offered)
            except TacitError as lost:
                if lost.code != "store.blob-missing":
                    raise
                LOG.error("lost", run=row.id, code=lost.code, cause=lost.cause)
                draft.note("broken", code=lost.code, cause=lost.cause)
                stopping(draft, lost.code)
            await self.commit(book, draft)

    async def _renew(self) -> None:
        """Keep what is ours, let go what another took over, and take what nobody drives."""
        held = tuple(self.books)
        for run in await self.offload(lambda: self._lost(held)):
            LOG.warning("lost", run=run)
            self.books.pop(run, None)
        for row in await self.offload(self._others):
            if row.id not in self.books:
                await self._adopt(row)

    def _others(self) -> tuple[RunRow, ...]:
        with self.database.read() as connection:
            self.members |= {one.id: one for one in members.listed(connection)}
            return runs.with_status(connection, "waiting", "running")

    def _lease(self, run: str) -> bool:
        now, seconds = self.clock.now(), self.settings.lease
        with self.database.begin() as connection:
            return leases.take(connection, run, self._holder, now, seconds)

    def _lost(self, held: Iterable[str]) -> list[str]:
        """Renew the leases of these runs; those that another holds by now."""
        return [run for run in held if not self._lease(run)]

    def _release(self, held: Iterable[str]) -> None:
        with self.database.begin() as connection:
            for run in held:
                leases.release(connection, run, self._holder)

    # -- writing -------------------------------------------------------------------------------

    def _append(
        self, run: str, lines: tuple[Any, ...], small: Mapping[str, bytes], seq: int
    ) -> None:
        with self.database.begin() as connection:
            self.blobs.write(connection, small)
            journal.append(connection, run, lines, after=seq)

    async def _stands(self, book: Book) -> None:
        run, status = book.row.id, book.status

        def write() -> None:
            with self.database.begin() as connection:
                runs.set_status(connection, run, status)

        await self.offload(write)
        book.row = replace(book.row, status=status)
        if book.over:
            self.books.pop(run, None)
            self.over[run] = status
            if book.kept:
                self.lasting[run] = (book.kept.state, book.kept.offer)
            self._remember(book)

    def _remember(self, book: Book) -> Book:
        self.past[book.row.id] = book
        self.past.move_to_end(book.row.id)
        while len(self.past) > REMEMBERED:
            self.past.popitem(last=False)
        return book

    def _tell(self, book: Book, effects: Iterable[Effect]) -> None:
        """Wake those whom it concerns."""
        told = {one.client for one in effects if isinstance(one, Ask | Include | Discard)}
        if book.over:
            told = set(book.places)
        known = [book.places[client].member for client in told if client in book.places]
        self.bells.ring(f"run {book.row.id}", *known)

    # -- time ----------------------------------------------------------------------------------

    def _revoked(self, member: str) -> bool:
        found = self.members.get(member)
        return found is None or found.revoked is not None

    def _silent(self, book: Book, now: float, client: int) -> bool:
        member = book.places[client].member
        if self.polling.get(member):
            return False
        heard = max(self.seen.get(member, 0.0), book.asked[client].at, self.started)
        return now - heard > self.settings.absent

    def _timely(self, book: Book) -> bool:
        """Whether time may have brought something: spares the draft."""
        collecting = book.machine.phase is Phase.COLLECTING or book.law is not None
        return book.status == "running" and collecting
