"""The unit of work behind processes and machines: an engine of its own for some of the turns.

A member of a crew gets the plan and the clients once, a round's offer with each request, and the
memories of the clients that it is asked for. It keeps their answers, and gives back sums.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients
from tacit.learn.personal import split
from tacit.plan.build import Plan, Step
from tacit.plan.cost import Cost
from tacit.plan.federation import Federation
from tacit.protect.form import Team
from tacit.round.turn import Memories
from tacit.sim.backend import Backend, Problem, Receipt, Refusal

Inner = Callable[[Plan, Clients, Key], Backend]
"""Makes the engine of a member: a function or class at the top level of a module."""


class Parcel(NamedTuple):
    """What a plan is rebuilt from elsewhere, and the rest that is said once.

    A plan's task may hold what does not travel (a torch module), so its description does. The
    chain travels with its calibrated noise, which is not computed again.
    """

    federation: Federation
    team: Team
    steps: tuple[Step, ...]
    cost: Cost
    key: Key
    inner: Inner


def parcel(plan: Plan, key: Key, inner: Inner) -> Parcel:
    """What members need of a plan; raises `run.worker-main` for code that they cannot import."""
    for code in plan.federation.task.code.split(", "):
        if code.startswith("__main__:"):
            raise TacitError("run.worker-main", code=code.partition(" ")[0])
    return Parcel(plan.federation, plan.team, plan.steps, plan.cost, key, inner)


def rebuilt(sent: Parcel) -> Plan:
    """The plan as far as turns need it: claims and warnings stay where they were made."""
    federation = sent.federation
    task = federation.task.build(federation.data)
    algorithm = federation.algorithm.build()
    parts = split(task, algorithm.personal)
    return Plan(federation, task, parts, algorithm, sent.team, sent.steps, (), (), sent.cost)


class Take(NamedTuple):
    """Let these clients take their turns; `serial` tells one opening of a round from another."""

    serial: int
    round: int
    clients: tuple[int, ...]
    memories: Mapping[int, Memories]


class Total(NamedTuple):
    """Sum the answers of these clients."""

    clients: tuple[int, ...]


class Keep(NamedTuple):
    """These clients' answers were included: give what they keep."""

    clients: tuple[int, ...]


Request = Take | Total | Keep

Taken = Sequence[Receipt | Refusal]
Partial = tuple[Vector, int]
Kept = Mapping[int, Memories]


class Told(Exception):
    """A traceback from elsewhere, as text: the cause of an error that came from there."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


@final
@dataclass(frozen=True)
class Refused:
    """A refusal on its way, with the traceback that an exception loses on its way."""

    refusal: Refusal
    told: str

    def here(self) -> Refusal:
        """The refusal with that traceback as its cause."""
        if self.told:
            self.refusal.problem.error.__cause__ = Told(self.told)
        return self.refusal


@final
class Unit:
    """A member's engine. What clients keep comes with a request and is forgotten after a round."""

    def __init__(self, sent: Parcel, clients: Clients) -> None:
        self.backend = sent.inner(rebuilt(sent), clients, sent.key)
        self.serial = 0
        self.kept: dict[int, Memories] = {}

    def do(self, request: Request, offer: Offer) -> Sequence[Receipt | Refused] | Partial | Kept:
        """Serve one request; `offer` is that of the request's round."""
        match request:
            case Take():
                return self._take(request, offer)
            case Total(clients=clients):
                return self.backend.total(clients)
            case Keep(clients=clients):
                return {client: self._keep(client) for client in clients}

    def _take(self, request: Take, offer: Offer) -> Sequence[Receipt | Refused]:
        if request.serial != self.serial:
            self.serial = request.serial
            self.kept.clear()
            self.backend.memories.restore(())
            self.backend.open(request.round, offer)
        for client, memories in request.memories.items():
            self.backend.memories.put(client, memories)
        return [_sent(result) for result in self.backend.take(request.clients)]

    def _keep(self, client: int) -> Memories:
        if client not in self.kept:
            self.backend.commit(client)
            self.kept[client] = self.backend.memory(client)
        return self.kept[client]


def _sent(result: Receipt | Refusal) -> Receipt | Refused:
    """A result that certainly travels: facts of an error may be any object."""
    if isinstance(result, Receipt):
        return result
    problem = result.problem
    cause = problem.error.__cause__
    told = "".join(traceback.format_exception(cause)) if cause else ""
    facts = {
        name: held if isinstance(held, str | int | float | None) else str(held)
        for name, held in problem.error.facts.items()
    }
    error = TacitError(problem.error.code, **facts)
    return Refused(Refusal(result.client, Problem(problem.round, problem.client, error)), told)
