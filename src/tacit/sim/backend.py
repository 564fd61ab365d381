"""The type of an engine: who computes a cohort's turns, and holds answers until they count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.algorithm import Offer
from tacit.round.turn import Memories
from tacit.sim.memory import MemoryStore


@final
@dataclass(frozen=True)
class Receipt:
    """A client's turn is done: its answer's digest, and its own exact training loss and size."""

    client: int
    digest: str
    loss: float
    examples: int


class Problem(NamedTuple):
    """A client that failed a round: who, when, and what to do."""

    round: int
    client: str
    error: TacitError


@final
@dataclass(frozen=True)
class Refusal:
    """A client's turn failed."""

    client: int
    problem: Problem


class Backend(Protocol):
    """Computes turns. All backends give the same numbers; they differ in speed only.

    A turn's answer and pending memory stay with the backend until `total` and `commit` name the
    clients that were included; `open` of the next round forgets the rest.
    """

    @property
    def memories(self) -> MemoryStore:
        """What clients keep, by index: what a checkpoint stores."""
        ...

    def open(self, round_: int, offer: Offer) -> None:
        """Begin a round: forget what was not committed, and receive the new offer."""
        ...

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns; results come in any order."""
        ...

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """Sum of the included answers, and how many they are."""
        ...

    def commit(self, client: int) -> None:
        """The client's answer was included: its pending memory becomes its memory."""
        ...

    def memory(self, client: int) -> Memories:
        """What the client keeps; empty before an answer of its counted. Also after `close`."""
        ...

    def close(self) -> None:
        """Release processes and shared memory."""
        ...
