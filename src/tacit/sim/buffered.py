"""The backend of buffered rounds: answers wait here, and count less the older their model is.

Client by client, in this process. Nguyen et al. 2022, Algorithm 1: an update made with a model
that is s rounds old is weighted by (1 + s)^-1/2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Kind, Vector
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.plan.cohort import Buffered
from tacit.round.buffered import room, taken
from tacit.round.close import add
from tacit.round.state import Run
from tacit.round.turn import Memories, Turn
from tacit.sim.backend import Receipt, Refusal
from tacit.sim.exact import Exact
from tacit.sim.memory import InMemory, MemoryStore, Shelf


@final
class Buffer:
    """Turns of several models at once; see `tacit.sim.backend.Backend`."""

    def __init__(self, plan: Plan, cohort: Buffered, clients: Clients, key: Key) -> None:
        self.plan, self.cohort = plan, cohort
        self.exact = Exact(plan, clients, key)
        self.turns: dict[int, tuple[int, Turn]] = {}

    @property
    def memories(self) -> MemoryStore:
        """What clients keep."""
        return self.exact.memories

    def open(self, round_: int, offer: Offer) -> None:
        """Receive the newest model; earlier answers stay."""
        self.exact.open(round_, offer)

    def keep(self, clients: Collection[int]) -> None:
        """Forget the answers of all others."""
        self.turns = {client: held for client, held in self.turns.items() if client in clients}

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns with the newest model."""
        for result in self.exact.take(clients):
            if isinstance(result, Receipt):
                self.turns[result.client] = (
                    self.exact.round,
                    self.exact.turns.pop(result.client),
                )
            yield result

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """Sum in the given order, each update weighted by its age."""
        return add(self._weighted(*self.turns[client]) for client in included)

    def commit(self, client: int) -> None:
        """Keep the memory of an included answer."""
        _, turn = self.turns.pop(client)
        if turn.pending:
            self.memories.put(client, turn.pending)

    def memory(self, client: int) -> Memories:
        """What the client keeps so far."""
        return self.exact.memory(client)

    def close(self) -> None:
        """Nothing is held outside this process."""

    def losses(self) -> dict[int, float]:
        """Training losses of the answers that wait."""
        return {client: turn.loss for client, (_, turn) in self.turns.items()}

    def snapshot(self) -> list[Shelf]:
        """The answers that wait, for a checkpoint."""
        held = InMemory()
        for client, (version, turn) in self.turns.items():
            held.put(client, {"version": version, **turn._asdict()})
        return held.snapshot()

    def restore(self, shelves: Iterable[Shelf]) -> None:
        """The answers that waited."""
        held = InMemory()
        held.restore(shelves)
        self.turns = {}
        for client in held:
            kept = held.get(client)
            self.turns[client] = (kept.pop("version"), Turn(**kept))

    def _weighted(self, version: int, turn: Turn) -> Vector:
        """The answer with its update scaled; what stands beside it counts in full."""
        stale = self.exact.round - version
        if not stale:
            return turn.answer.astype(np.float64)
        answer, wire = turn.answer.astype(np.float64), self.plan.client_steps[-1].after
        for block in wire.of(Kind.TRAINED):
            answer[wire.spans[block.name]] *= self.cohort.weight(stale)
        return answer


def drawn(
    cohort: Buffered, run: Run, clients: int, here: npt.NDArray[np.int64] | None, key: Key
) -> tuple[int, ...]:
    """Whom to ask now: as many as there is room for, of a population or of those `here`."""
    if here is None:
        return cohort.pick(clients, room(run), taken(run), key)
    free = np.setdiff1d(here, np.array(sorted(taken(run)), np.int64))
    return tuple(int(free[i]) for i in cohort.pick(len(free), room(run), frozenset(), key))
