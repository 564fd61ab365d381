"""Answers that have arrived and are to be journalled, several at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.book import Book
from tacit.deploy.store.members import Member


@final
@dataclass(frozen=True)
class Place:
    """Whose answer of which round an upload is."""

    book: Book
    member: Member
    index: int
    round: int

    def name(self, digest: str) -> str:
        """Of the upload: what the same answer continues, and no other."""
        return f"{self.prefix}{digest}"

    @property
    def prefix(self) -> str:
        """What all uploads to this place have in common."""
        return f"{self.book.row.id}-{self.round:x}-{self.index:x}-"


@final
@dataclass(eq=False)
class Arrival:
    """An answer that fits its plan; `content` where it is small, else it is a durable blob."""

    place: Place
    digest: str
    content: bytes | None = None
    settled: bool = field(default=False, init=False)
    refused: TacitError | None = field(default=None, init=False)

    def settle(self, refused: TacitError | None = None) -> None:
        """It counts, or it does not, and why."""
        self.settled, self.refused = True, refused
