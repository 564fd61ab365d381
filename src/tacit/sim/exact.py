"""The exact backend: client by client, in this process. The reference for all others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients, Examples, NamedClients
from tacit.plan.build import Plan
from tacit.round.close import add
from tacit.round.turn import Memories, Turn, take_turn
from tacit.sim.backend import Problem, Receipt, Refusal
from tacit.sim.memory import MemoryStore, memory_for


@final
class Exact:
    """One turn after the other; see `tacit.sim.backend.Backend`."""

    def __init__(self, plan: Plan, clients: Clients, key: Key) -> None:
        self.plan, self.clients, self.key = plan, clients, key
        self.memories: MemoryStore = memory_for(len(clients), plan.cost.down)
        self.turns: dict[int, Turn] = {}
        self.round = 0
        self.offer: Offer = {}

    def open(self, round_: int, offer: Offer) -> None:
        """Begin a round."""
        self.round, self.offer = round_, offer
        self.turns.clear()

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns, in this order."""
        for client in clients:
            yield self._one(client)

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """Sum in the given order."""
        return add(self.turns[client].answer for client in included)

    def commit(self, client: int) -> None:
        """Keep the memory of an included answer."""
        turn = self.turns.pop(client)
        if turn.pending:
            self.memories.put(client, turn.pending)

    def memory(self, client: int) -> Memories:
        """What the client keeps so far."""
        return self.memories.get(client)

    def close(self) -> None:
        """Nothing is held outside this process."""

    def _one(self, client: int) -> Receipt | Refusal:
        name = self.clients.name(client)
        key = self.key / "round" / self.round / "client" / client
        memory = self.memory(client)
        try:
            held = held_by(self.plan, self.clients, client)
            turn = take_turn(self.plan, held, self.offer, memory, key, name, self.round)
        except Exception as error:  # noqa: BLE001  # user code may raise anything; it is named
            return Refusal(client, named_problem(error, self.round, name))
        self.turns[client] = turn
        return Receipt(client, digest(turn.answer), turn.loss, turn.examples)


def held_by(plan: Plan, clients: Clients, client: int) -> Examples:
    """A client's records; those that are not in memory from the start are checked when read."""
    held = clients.examples(client)
    if not isinstance(clients, NamedClients):
        if plan.federation.data is not None:
            plan.federation.data.check(clients.name(client), held)
        plan.task.check(held)
    return held


def digest(vector: Vector) -> str:
    """Names the bytes of an answer or a model."""
    return hashlib.blake2b(np.ascontiguousarray(vector).data, digest_size=16).hexdigest()


def named_problem(error: Exception, round_: int, client: str) -> Problem:
    """Any exception of a turn as a problem that names client, cause and remedy."""
    if isinstance(error, TacitError):
        return Problem(round_, client, error)
    problem = f"{type(error).__name__}: {error}"
    wrapped = TacitError("round.code-failed", client=client, round=round_ + 1, problem=problem)
    wrapped.__cause__ = error
    return Problem(round_, client, wrapped)
