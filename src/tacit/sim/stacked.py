"""The stacked backend: many clients' turns as one computation, on one core.

Clients of a cohort are sorted by their number of records and cut into blocks that fit the cache;
each block goes through the algorithm's own visit with a leading clients axis, and through the
chain as rows. A plan or task that cannot be stacked is run exactly, and `says` tells why; so is
a block in which something is wrong, to find the client and name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.base.key import Key
from tacit.base.vector import Rows, Vector
from tacit.learn.algorithm import Need, Offer
from tacit.learn.examples import Clients, Examples
from tacit.learn.schedule import Workspace
from tacit.learn.stacked import Stackable, StackedHome, StackedTask, cannot_stack
from tacit.plan.build import Plan
from tacit.plan.cohort import Fixed
from tacit.protect.keys import Keys
from tacit.round.turn import Memories, fair, left_at_home, received, shows, summed, turn
from tacit.sim.backend import Receipt, Refusal
from tacit.sim.exact import Exact, held_by
from tacit.sim.fold import (
    Fold,
    Parts,
    cut,
    form_of,
    marks,
    memory_at,
    packed,
    parts,
    stacked_memories,
)
from tacit.sim.memory import MemoryStore

BLOCK = 2_500_000
"""Bytes of what a step touches of a block's models: best where they fit a core's cache."""

MODELS = 10_000_000
"""Bytes of a block's models at most."""

WIDEST = 128
"""Clients of a block at most."""

AHEAD = 512
"""Clients that are sorted together: their records are held at once."""


STACKED_NEEDS = frozenset({Need.MEMORY, Need.STALENESS, Need.BATCHES})
"""What a block can give to an algorithm."""


class Asked(NamedTuple):
    """A client that is to take its turn, with what it brings."""

    client: int
    held: Examples
    memory: Memories


class Visited(NamedTuple):
    """What a block's visit gave: answers by blocks, and what the clients would keep."""

    answers: Parts
    kept: Memories
    losses: Vector
    counts: npt.NDArray[np.int64]
    memory: Memories


@final
@dataclass(frozen=True)
class Block:
    """Answers of clients that took their turns together.

    `whole` is their sum where it is taken at once, otherwise `rows` are the answers.
    """

    asked: Sequence[Asked]
    places: Mapping[int, int]
    pending: Memories
    whole: Vector | None
    rows: Rows | None
    counts: npt.NDArray[np.int64]


@final
class Stacked:
    """Blocks of clients; see `tacit.sim.backend.Backend`."""

    def __init__(self, plan: Plan, clients: Clients, key: Key) -> None:
        self.plan, self.clients, self.key = plan, clients, key
        self.exact = Exact(plan, clients, key)
        form = _stacked_form(plan)
        self.stacked: StackedTask | None = None if isinstance(form, str) else form
        self.why = form if isinstance(form, str) else ""
        self.tried = False
        self.fold = Fold.of(plan)
        self.space, self.models = Workspace(), Workspace()
        self.keeps = Need.MEMORY in plan.algorithm.needs or bool(plan.algorithm.personal)
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

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns, block by block."""
        for first in range(0, len(clients), AHEAD):
            yield from self._take(clients[first : first + AHEAD])

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """Sums of the blocks, then of these."""
        wanted = list(included)
        alone = [client for client in wanted if client not in self.block_of]
        groups: dict[int, list[int]] = {}
        for client in wanted:
            if client in self.block_of:
                groups.setdefault(id(self.block_of[client]), []).append(client)
        sums = [self._total(self.block_of[group[0]], group) for group in groups.values()]
        if alone:
            sums.append(self.exact.total(alone)[0])
        total = sums[0] if len(sums) == 1 else sums[0] + sums[1]
        for one in sums[2:]:
            total += one
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
            held = held_by(self.plan, self.clients, client)
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
        return (*shapes, same, form_of(asked.memory) if asked.memory else ())

    @property
    def _widest(self) -> int:
        assert self.stacked is not None
        each = self.exact.offer["params"].itemsize
        touched, whole = self.stacked.touched, self.plan.task.layout.size
        return max(2, min(WIDEST, BLOCK // (touched * each), MODELS // (whole * each)))

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
        """Let a block's clients take their turns."""
        found = self._visited(asked)
        numbers = found.losses if self._at_once and shows(self.plan) else marks(found.answers)
        _check_finite(numbers)
        whole = rows = None
        pending: Memories = {}
        if self._at_once:
            whole, pending = self._whole(asked, found)
            _check_finite(whole)  # a number of any answer that is not finite shows in a sum
        else:
            rows = packed(self.plan, found.answers, self._room(len(asked), found.answers))
            if not self.fold.linear:
                keys = self._keys(asked)
                rows, pending = turn(self.plan, rows, found.memory, keys, found.counts)
        places = {one.client: place for place, one in enumerate(asked)}
        block = Block(asked, places, {**pending, **found.kept}, whole, rows, found.counts)
        self.block_of.update(dict.fromkeys(places, block))
        return self._receipts(asked, found.losses, numbers)

    def _visited(self, asked: Sequence[Asked]) -> Visited:
        """The algorithm's visit of some clients."""
        plan = self.plan
        memory = stacked_memories([one.memory for one in asked])
        offer = self._received(memory, len(asked))
        home = self._home(asked)
        found, kept = plan.algorithm.visit(offer, memory.get("algorithm"), home)
        if not fair(plan, found.weight):
            raise ValueError("a weight out of bounds")  # the exact turn names it
        found, personal = left_at_home(plan, offer, found)
        reports = home.reports(offer["params"]) if plan.federation.metrics else None
        keeps = {"algorithm": kept, "personal": personal}
        return Visited(
            parts(plan, found, reports),
            {name: one for name, one in keeps.items() if one is not None},
            np.broadcast_to(found.loss, len(asked)),
            home.counts,
            memory,
        )

    @property
    def _at_once(self) -> bool:
        """Whether a block is summed as a whole: all who answer will count, unless they are lost."""
        federation = self.plan.federation
        spare = isinstance(federation.cohort, Fixed) and federation.cohort.spare > 0
        return not federation.deadline and not spare

    def _whole(self, asked: Sequence[Asked], found: Visited) -> tuple[Vector, Memories]:
        """The sum of a block's answers, and what stages would keep."""
        if self.fold.linear:
            return self.fold.total(found.answers, found.counts), {}
        return summed(self.plan, found.answers, found.memory, self._keys(asked), found.counts)

    def _room(self, clients: int, answers: Parts) -> Rows:
        return np.empty((clients, self.plan.message.size), answers["update"].dtype)

    def _total(self, block: Block, clients: list[int]) -> Vector:
        """Sum of the answers of some of a block's clients."""
        places = sorted(block.places[client] for client in clients)
        if block.whole is not None:
            if len(places) == len(block.places):
                return block.whole
            asked = [block.asked[place] for place in places]  # others were lost
            return self._whole(asked, self._visited(asked))[0]
        assert block.rows is not None
        rows = block.rows if len(places) == len(block.places) else block.rows[places]
        if self.fold.linear:
            return self.fold.total(cut(self.plan, rows), block.counts[places])
        wide = np.int64 if rows.dtype.kind == "i" else np.float64
        return np.asarray(np.sum(rows, axis=0, dtype=wide))

    def _receipts(self, asked: list[Asked], losses: Vector, numbers: Vector) -> list[Receipt]:
        """An answer here has no bytes of its own; it is named by its client and its mark."""
        return [
            Receipt(one.client, f"{one.client}:{number.hex()}", loss, len(one.held.x))
            for one, number, loss in zip(asked, numbers.tolist(), losses.tolist(), strict=True)
        ]

    def _received(self, memory: Memories, clients: int) -> Offer:
        """The offer, one row a client."""
        offer = received(self.plan, self.exact.offer, memory)
        return {
            name: np.broadcast_to(vector, (clients, vector.shape[-1]))
            for name, vector in offer.items()
        }

    def _home(self, asked: Sequence[Asked]) -> StackedHome:
        assert self.stacked is not None
        plan, keys = self.plan, partial(self._local_key, [one.client for one in asked])
        held = [one.held for one in asked]
        models = Workspace() if self.keeps else self.models
        return StackedHome(
            plan.task, self.stacked, held, keys, plan.records, plan.split, self.space, models
        )

    def _keys(self, asked: Sequence[Asked]) -> Keys:
        """Each client's key of this round."""
        clients = [one.client for one in asked]
        return Keys.below(self.key / "round" / self.exact.round / "client", clients)

    def _local_key(self, clients: list[int], place: int) -> Key:
        return self._key(clients[place]) / "local"

    def _key(self, client: int) -> Key:
        return self.key / "round" / self.exact.round / "client" / client


def _check_finite(numbers: Vector) -> None:
    if not np.isfinite(numbers).all():
        raise FloatingPointError("an update is not finite")


def _stacked_form(plan: Plan) -> StackedTask | str:
    """The task for many clients at once, or in one clause why they go one by one."""
    if others := plan.algorithm.needs - STACKED_NEEDS:
        return f"the algorithm needs each client's {', '.join(sorted(others))}"
    return plan.task.stacked() if isinstance(plan.task, Stackable) else "the task has no other form"
