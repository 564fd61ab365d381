"""The diary: one plain sentence for everything that was asked, answered, refused and sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

from sqlalchemy import Connection, select

from tacit.deploy.client.database import Ledger
from tacit.deploy.client.queries import NOTE
from tacit.deploy.client.tables import diary
from tacit.plan.trust import size as bytes_in_words


@final
@dataclass(frozen=True)
class Line:
    """One event: `at` in seconds since 1970."""

    seq: int
    at: float
    run: str
    round: int | None
    text: str

    def __str__(self) -> str:
        local = datetime.fromtimestamp(self.at, UTC).astimezone()
        return f"{local:%Y-%m-%d %H:%M:%S} {self.text}"


def note(
    connection: Connection, at: float, text: str, run: str = "", round_: int | None = None
) -> None:
    """Write a sentence, in the transaction of what it tells."""
    connection.execute(NOTE, {"at": at, "run": run, "round": round_, "text": text})


def lines(ledger: Ledger, after: int = 0, limit: int = 1000, run: str = "") -> tuple[Line, ...]:
    """Lines behind number `after`, oldest first; of one run if it is named."""
    query = select(diary).where(diary.c.seq > after).order_by(diary.c.seq).limit(limit)
    if run:
        query = query.where(diary.c.run == run)
    with ledger.read() as connection:
        return tuple(Line(*row) for row in connection.execute(query))


def about(name: str, researcher: str, round_: int | None = None) -> str:
    """How a sentence begins; rounds are counted from 1 for people."""
    begins = f"round {round_ + 1} of " if round_ is not None else ""
    return f"{begins}{name!r} (researcher {researcher})"


def accepted(dataset: str, spent: str) -> str:
    """A run was accepted."""
    return f"accepted, with the data set {dataset!r}{spent}."


def refused(reasons: Iterable[str]) -> str:
    """A run or a turn was refused."""
    return f"refused: {'; '.join(reasons)}."


def sends(size: int, digest: str, readers: str) -> str:
    """Written before the first byte leaves."""
    return f"sends {bytes_in_words(size)}, SHA-256 {digest}; {readers}."


def readers(*, hidden: bool) -> str:
    """Who can read an answer."""
    return "nobody alone can read it" if hidden else "the coordinator can read it"


def arrived(digest: str) -> str:
    """The coordinator has the whole answer."""
    return f"the answer {digest[:12]} arrived."


def settled(*, included: bool, code: str) -> str:
    """What became of an answer."""
    return "the answer is part of the sum." if included else f"the answer was not used ({code})."


def failed(phase: str, what: str) -> str:
    """A turn could not be taken."""
    return f"the turn failed ({phase}): {what}".rstrip(".") + "."
