"""The stacked backend: many clients' turns as one computation, on one core.

Clients of a cohort are sorted by their number of records and cut into blocks that fit the cache;
each block goes through the algorithm's own visit with a leading clients axis, and through the
chain as rows. A plan or task that cannot be stacked is run exactly, and `says` tells why; so is
a block in which something is wrong, to find the client and name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, final

import numpy as np

from tacit.base.key import Key
from tacit.base.vector import Rows, Vector
from tacit.learn.algorithm import Need, Offer
from tacit.learn.examples import Clients, Examples
from tacit.learn.schedule import Workspace
from tacit.learn.stacked import Stackable, StackedHome, StackedTask, cannot_stack
from tacit.plan.build import Plan
from tacit.round.turn import Memories, left_at_home, received, turn
from tacit.sim.backend import Receipt, Refusal
from tacit.sim.exact import Exact
from tacit.sim.fold import Fold, form_of, memory_at, pack_rows, stacked_memories
from tacit.sim.memory import MemoryStore

BLOCK = 2_500_000
"""Bytes of models in a block: measured best where they fit a core's cache beside the batch."""

WIDEST = 128
"""Clients of a block at most."""

AHEAD = 512
"""Clients that are sorted together: their records are held at once."""


class Asked(NamedTuple):
    """A client that is to take its turn, with what it brings."""

    client: int
    held: Examples
    memory: Memories


@final
@dataclass(frozen=True)
class Block:
    """Answers of clients, as rows; `fold` is how they add up; `pending` what they would keep."""

    places: dict[int, int]
    rows: Rows
    fold: Fold
    counts: Vector
    pending: Memories

    def total(self, clients: set[int]) -> Vector:
        """Sum of these clients' answers."""
        places = [place for client, place in self.places.items() if client in clients]
        if len(places) == len(self.places):
            return self.fold.total(self.rows, self.counts)
        return self.fold.total(self.rows[places], self.counts[places])


@final
@dataclass
class Rooms:
    """Memory for answers, handed out within a round and used again in the next."""

    held: list[Rows] = field(default_factory=list)
    used: int = 0

    def room(self, widest: int, size: int, dtype: np.dtype[Any]) -> Rows:
        """An array (widest, size) of any content; all of a run are alike."""
        if self.used == len(self.held):
            self.held.append(np.empty((widest, size), dtype))
        self.used += 1
        return self.held[self.used - 1]


@final
class Stacked:
    """Blocks of clients; see `tacit.sim.backend.Backend`."""

    def __init__(self, plan: Plan, clients: Clients, key: Key) -> None:
        self.plan, self.clients, self.key = plan, clients, key
        self.exact = Exact(plan, clients, key)
        form = plan.task.stacked() if isinstance(plan.task, Stackable) else "it has no stacked form"
        self.stacked: StackedTask | None = None if isinstance(form, str) else form
        self.why = form if isinstance(form, str) else ""
        self.tried = False
        self.fold = Fold.of(plan)
        self.space, self.rooms = Workspace(), Rooms()
        self.block_of: dict[int, Block] = {}

    @property
    def says(self) -> str:
        """One line: how the clients are computed, and if not stacked, why."""
        if self.why:
            return f"Clients run one by one: {self.why}."
        return f"Clients run in blocks of up to {self._widest} at once."

    @property
    def memories(self) -> MemoryStore:
        """What clients keep."""
        return self.exact.memories

    def memory(self, client: int) -> Memories:
        """What a client keeps so far."""
        return self.exact.memory(client)

    def open(self, round_: int, offer: Offer) -> None:
        """Begin a round."""
        self.exact.open(round_, offer)
        self.block_of.clear()
        self.rooms.used = 0

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns, block by block."""
        for first in range(0, len(clients), AHEAD):
            yield from self._take(clients[first : first + AHEAD])

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """Sums of the blocks, then of these."""
        wanted = list(included)
        alone = [client for client in wanted if client not in self.block_of]
        blocks = {id(block): block for block in self.block_of.values()}
        sums = [block.total(set(wanted)) for block in blocks.values()]
        if alone:
            sums.append(self.exact.total(alone)[0])
        total = sums[0]
        for one in sums[1:]:
            total = total + one
        return total, len(wanted)

    def commit(self, client: int) -> None:
        """Keep the memory of an included answer."""
        if client not in self.block_of:
            self.exact.commit(client)
            return
        block = self.block_of[client]
        if block.pending:
            self.memories.put(client, memory_at(block.pending, block.places[client]))

    def close(self) -> None:
        """Nothing is held outside this process."""
        self.exact.close()

    def _take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        if self.why:
            yield from self.exact.take(clients)
            return
        ready, alone = [], []
        for client in clients:
            asked = self._asked(client)
            if asked is None:
                alone.append(client)
            else:
                ready.append(asked)
        for block in self._blocks(ready):
            yield from self._turns(block)
        yield from self.exact.take(alone)

    def _asked(self, client: int) -> Asked | None:
        """None for a client without records, or whose records cannot be had."""
        try:
            held = self.clients.examples(client)
            return Asked(client, held, self.memory(client)) if held.count else None
        except Exception:  # noqa: BLE001  # the exact turn meets the same error, and names it
            return None

    def _blocks(self, ready: list[Asked]) -> Iterator[list[Asked]]:
        """Clients alike, longest first, as many as fit."""
        alike: dict[Any, list[Asked]] = {}
        for asked in sorted(ready, key=lambda one: -one.held.count):
            alike.setdefault(self._kind(asked), []).append(asked)
        for group in alike.values():
            for first in range(0, len(group), self._widest):
                yield group[first : first + self._widest]

    def _kind(self, asked: Asked) -> Any:
        """What the clients of a block must have in common."""
        x, y = asked.held
        same = asked.held.count if Need.BATCHES in self.plan.algorithm.needs else 0
        shapes = (x.shape[1:], y.shape[1:], x.dtype, y.dtype)
        return (*shapes, same, form_of(asked.memory))

    @property
    def _widest(self) -> int:
        each = self.plan.task.layout.size * self.exact.offer["params"].itemsize
        return max(2, min(WIDEST, BLOCK // each))

    def _turns(self, asked: list[Asked]) -> Iterator[Receipt | Refusal]:
        """A block's turns; where that fails, the same one by one."""
        clients = [one.client for one in asked]
        problem = ""
        try:
            if not self.tried:
                self.why, self.tried = self._trial(asked[0]), True
            if not self.why:
                yield from self._block(asked)
                return
        except Exception as error:  # noqa: BLE001  # the exact turns meet it again, and name it
            problem = f"a block failed with {type(error).__name__}: {error}"
        results = list(self.exact.take(clients))
        if problem and not any(isinstance(one, Refusal) for one in results):
            self.why = problem  # of no client's making
        yield from results

    def _trial(self, asked: Asked) -> str:
        """Why the task cannot be stacked after all, found on a client's records."""
        assert self.stacked is not None
        params = received(self.plan, self.exact.offer, asked.memory)["params"]
        return cannot_stack(self.plan.task, self.stacked, params, asked.held)

    def _block(self, asked: list[Asked]) -> list[Receipt]:
        plan, held = self.plan, [one.held for one in asked]
        memory = stacked_memories([one.memory for one in asked])
        offer = self._received(memory, len(asked))
        home = self._home(asked, held)
        found, kept = plan.algorithm.visit(offer, memory.get("algorithm"), home)
        found, personal = left_at_home(plan, offer, found)
        reports = home.reports(offer["params"]) if plan.federation.metrics else None
        room = self.rooms.room(self._widest, plan.message.size, found.update.dtype)[: len(asked)]
        rows = pack_rows(plan, found, reports, room)
        marks = np.sum(rows, axis=1)
        if not np.isfinite(marks).all():
            raise FloatingPointError("an update is not finite")
        pending: Memories = {}
        if not self.fold.linear:
            keys = tuple(self._key(one.client) / "chain" for one in asked)
            rows, pending = turn(plan, rows, memory, keys, home.counts)
        if kept is not None:
            pending["algorithm"] = kept
        if personal is not None:
            pending["personal"] = personal
        places = {one.client: place for place, one in enumerate(asked)}
        block = Block(places, rows, self.fold, home.counts, pending)
        self.block_of.update(dict.fromkeys(places, block))
        return self._receipts(asked, found.loss, marks)

    def _receipts(self, asked: list[Asked], losses: Any, marks: Vector) -> list[Receipt]:
        """An answer here has no bytes of its own; it is named by its client and its sum."""
        return [
            Receipt(one.client, f"{one.client}:{mark.hex()}", loss, one.held.count)
            for one, mark, loss in zip(asked, marks.tolist(), losses.tolist(), strict=True)
        ]

    def _received(self, memory: Memories, clients: int) -> Offer:
        """The offer, one row a client."""
        offer = received(self.plan, self.exact.offer, memory)
        return {
            name: np.broadcast_to(vector, (clients, vector.shape[-1]))
            for name, vector in offer.items()
        }

    def _home(self, asked: list[Asked], held: list[Examples]) -> StackedHome:
        assert self.stacked is not None
        plan, keys = self.plan, partial(self._local_key, [one.client for one in asked])
        return StackedHome(
            plan.task, self.stacked, held, keys, plan.records, plan.split, self.space
        )

    def _local_key(self, clients: list[int], place: int) -> Key:
        return self._key(clients[place]) / "local"

    def _key(self, client: int) -> Key:
        return self.key / "round" / self.exact.round / "client" / client
