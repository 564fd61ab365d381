"""Sees every message of a story and, at its end, every disk; says what should not have been."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import parse_qs

from tacit.deploy.client.transport import Response
from tacit.deploy.coordinator.book import Book, opened_book
from tacit.deploy.coordinator.service import Coordinator
from tacit.testing.cases import Case, held, undisturbed
from tacit.testing.judge import Line, Verdict, judged
from tacit.testing.network import Message

_FOLDED: Final = (
    "machine",
    "status",
    "why",
    "seq",
    "start",
    "kept",
    "places",
    "left",
    "refusals",
    "tried",
    "strikes",
    "aside",
    "offers",
    "history",
    "included",
    "discarded",
)
"""What of a run in memory must be what its journal says."""


@final
class Witness:
    """`database`: the coordinator's; `wrong` is told of every breach."""

    def __init__(self, database: Path, case: Case, wrong: Callable[[str], None]) -> None:
        self.database, self.case, self.wrong = database, case, wrong
        self.answers: dict[tuple[int, int], dict[str, dict[int, bytes]]] = {}
        self.fates: set[tuple[int, int, str, bool]] = set()
        self._reader: sqlite3.Connection | None = None

    # -- while it happens ----------------------------------------------------------------------

    def sees(self, message: Message, reply: Response | None) -> None:
        """A message leaves, or the coordinator answers it."""
        if not message.sender.startswith("client "):
            return
        if reply is not None and reply.status == 500:
            self.wrong(f"500 for {message.request.path}: {reply.body[:300]!r}")
        path = message.request.path.split("/")
        if message.request.method == "PUT" and path[-1] == "answer":
            self._answer(message, int(path[5]), reply)
        if path[-1] == "work" and reply is not None and reply.status == 200:
            self._fates(message, json.loads(reply.body)["fates"])

    def _answer(self, message: Message, round_: int, reply: Response | None) -> None:
        place = _place(message)
        named = {name: held[0] for name, held in parse_qs(message.request.query).items()}
        if reply is None:
            sent = self.answers.setdefault((place, round_), {})
            sent.setdefault(named["digest"], {})[int(named["offset"])] = message.content
            if len(sent) > 1:
                self.wrong(f"client {place} answers round {round_} with different bytes")
        elif reply.status == 200 and json.loads(reply.body)["done"]:
            wanted = {"round": round_, "client": place, "digest": named["digest"]}
            rows = self._rows("SELECT body FROM journal WHERE kind = 'answered'")
            if not any(json.loads(body) == wanted for (body,) in rows):
                self.wrong(f"round {round_} of client {place} is acknowledged, not journalled")

    def _fates(self, message: Message, fates: list[dict[str, Any]]) -> None:
        asked = {one["round"]: one["digest"] for one in json.loads(message.content)["open"]}
        for fate in fates:
            told = (_place(message), fate["round"], asked[fate["round"]], fate["included"])
            self.fates.add(told)

    def lines(self) -> tuple[Line, ...]:
        """The journal as it is on the disk."""
        rows = self._rows("SELECT seq, kind, body FROM journal ORDER BY seq")
        return tuple(Line(seq, kind, json.loads(body)) for seq, kind, body in rows)

    def status(self) -> str:
        """Of the run; empty before it was submitted."""
        rows = self._rows("SELECT status FROM runs")
        return str(rows[0][0]) if rows else ""

    def may_wait(self) -> bool:
        """Whether too few clients are left for the run to begin."""
        here: set[int] = set()
        for line in self.lines():
            if line.kind == "joined":
                here.add(line.body["index"])
            elif line.kind == "left":
                here.discard(line.body["index"])
        return len(here) < self.case.plan.team.quorum

    def _rows(self, query: str) -> list[Any]:
        if self._reader is None:
            self._reader = sqlite3.connect(self.database, isolation_level=None)
        return self._reader.execute(query).fetchall()

    def close(self) -> None:
        """Look no more."""
        if self._reader is not None:
            self._reader.close()

    # -- at the end ----------------------------------------------------------------------------

    def remembers(self, here: Coordinator | None) -> None:
        """The state in memory is the fold of the journal."""
        known = (*here.books.values(), *here.past.values()) if here is not None else ()
        for book in known:
            folded = self._folded(book)
            for name in _FOLDED:
                told, found = getattr(folded, name), getattr(book, name)
                if told != found:
                    self.wrong(f"in memory {name} is {found}, by the journal {told}")

    def _folded(self, book: Book) -> Book:
        folded = opened_book(book.row, book.plan)
        for seq, at, kind, body in self._rows("SELECT seq, at, kind, body FROM journal"):
            folded.absorb(seq, at, kind, json.loads(body))
        return folded

    def ends(self, here: Coordinator | None, root: Path, names: Collection[str]) -> None:
        """Hold the whole story against the rules."""
        verdict = judged(self.case, self.lines(), self._bytes(), held())
        for problem in verdict.problems:
            self.wrong(problem)
        if verdict.status != self.status():
            self.wrong(f"the run stands as {self.status()}, by its journal as {verdict.status}")
        self._told(verdict)
        self._bits(verdict)
        self.remembers(here)
        if verdict.status in ("finished", "failed"):
            self._tidy(verdict, root / "coordinator")
            for place, name in enumerate(names):
                self._home(place, verdict, root / name)

    def _bytes(self) -> dict[tuple[int, int], bytes]:
        """Every answer that was sent, whole."""
        found = {}
        for where, sent in self.answers.items():
            for digest, parts in sent.items():
                content = _joined(parts)
                if sha256(content).hexdigest() != digest:
                    self.wrong(f"the answer {where} is not what its digest says")
                found[where] = content
        return found

    def _told(self, verdict: Verdict) -> None:
        for place, round_, digest, included in sorted(self.fates):
            if included != (verdict.included.get((place, round_)) == digest):
                self.wrong(f"client {place} was told a wrong fate of round {round_}: {included}")

    def _bits(self, verdict: Verdict) -> None:
        """Where no cohort was changed, the bits are those of an undisturbed run."""
        if not verdict.whole or verdict.status != "finished" or self.case.seed is None:
            return
        if verdict.params.tobytes() != undisturbed(self.case.name):
            self.wrong("the model is not that of an undisturbed run")

    def _tidy(self, verdict: Verdict, folder: Path) -> None:
        blobs = {path.name for path in (folder / "blobs").glob("??/*")}
        blobs |= {row[0] for row in self._rows("SELECT digest FROM blobs")}
        if blobs != verdict.kept:
            self.wrong(f"blobs {blobs - verdict.kept} are left, {verdict.kept - blobs} are lost")
        for name in ("spool", "blobs/new"):
            if left := _names(folder / name):
                self.wrong(f"{name} still has {left}")

    def _home(self, place: int, verdict: Verdict, home: Path) -> None:
        """A client's memory is that of its included answers, and nothing else is left."""
        with closing(sqlite3.connect(home / "state.db")) as connection:
            row = connection.execute("SELECT round, file FROM memory").fetchone()
        rounds = [round_ for client, round_ in verdict.included if client == place]
        last = max(rounds, default=None) if verdict.remembers else None
        if (row and row[0]) != last:
            self.wrong(f"client {place} remembers {row}, its last included round is {last}")
        elif row and not _remembered(home / "memory" / row[1], place, verdict):
            self.wrong(f"client {place} remembers something else")
        left = _names(home / "memory") - {row[1] if row else ""}
        left |= _names(home / "work")
        left |= _names(home / "answers") if verdict.status == "finished" else set()
        if left and verdict.status == "finished":
            self.wrong(f"client {place} still has {left}")


def _remembered(file: Path, place: int, verdict: Verdict) -> bool:
    """Whether a memory is what it must be, where that is known."""
    if not file.is_file():
        return False
    return place not in verdict.memories or file.read_bytes() == verdict.memories[place]


def _joined(parts: dict[int, bytes]) -> bytes:
    """An answer from its pieces, which may overlap where an upload was resumed."""
    whole = bytearray(max(offset + len(part) for offset, part in parts.items()))
    for offset, part in parts.items():
        whole[offset : offset + len(part)] = part
    return bytes(whole)


def _place(message: Message) -> int:
    return int(message.sender.removeprefix("client "))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
