"""Ray: the pool's unit of work on the machines of a cluster, one actor a core.

Moritz et al. 2018, "Ray: A Distributed Framework for Emerging AI Applications". The offer is put
into the cluster's object store once a round, and the records of a client in memory when the client
is first asked for, so that they are where its turns are. Actors that die are replaced, see
`tacit.sim.dispatch`. Needs the extra `ray`.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.base.key import Key
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients, Examples, NamedClients
from tacit.plan.build import Plan
from tacit.sim.dispatch import ATTEMPTS, Dispatch, Gone
from tacit.sim.exact import Exact
from tacit.sim.work import Inner, Parcel, Request, Take, Told, Unit, parcel
from tacit.sim.worker import Broken, Done, broken, checked, pickled, unpickled


def ray(
    plan: Plan,
    clients: Clients,
    key: Key,
    workers: int = 0,
    inner: Inner = Exact,
    parts: int = 16,
) -> Dispatch:
    """A backend of `workers` Ray actors (0: one for each core of the cluster).

    Uses the Ray that the program has joined; where there is none, the cluster that RAY_ADDRESS
    names, or one of this computer alone, which ends with the run. Raises `task.missing-extra`,
    `run.worker-main` and `run.worker-send`.
    """
    library = optional("ray", 'engine="ray"')
    crew = Actors(library, plan, clients, key, checked(workers), inner)
    return Dispatch(plan, clients, crew, parts, exact=inner is Exact)


PATIENCE = 120.0
"""Seconds in which the cluster must have begun with one actor at least."""


@final
@dataclass
class Arrived:
    """Clients in memory elsewhere: their number, and the records that came with a request."""

    names: tuple[str, ...]
    held: dict[int, Examples]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The client's name."""
        return self.names[index]

    def examples(self, index: int) -> Examples:
        """The client's records, if it was asked for."""
        return self.held[index]


@final
class Actor:
    """Lives in a process of the cluster; becomes a Ray actor when one is started."""

    def __init__(self, sent: bytes, source: bytes) -> None:
        self.sent, self.source = sent, source
        self.unit: Unit | None = None
        self.clients: Clients | None = None

    def serve(self, request: Request | None, offer: Offer, *held: Examples) -> Done | Broken:
        """Begin (None), or serve a request for which some clients' records came along."""
        try:
            return Done(self._served(request, offer, held))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told at the other end
            return broken(error)

    def _served(self, request: Request | None, offer: Offer, held: Sequence[Examples]) -> Any:
        if self.unit is None or request is None:
            parts: Parcel = unpickled("federation", self.sent)
            self.clients = unpickled("clients", self.source)
            assert self.clients is not None
            self.unit = Unit(parts, self.clients)
            return None
        if isinstance(self.clients, Arrived):
            self.clients.held.clear()
            if isinstance(request, Take):
                self.clients.held.update(zip(request.clients, held, strict=True))
        return self.unit.do(request, offer)


@final
@dataclass
class _Member:
    """An actor, and the call that it is at work on."""

    actor: Any
    call: Any
    started: bool = False


@final
class Actors:
    """A crew of Ray actors; see `tacit.sim.dispatch.Crew`."""

    def __init__(
        self, library: Any, plan: Plan, clients: Clients, key: Key, count: int, inner: Inner
    ) -> None:
        self.ray, self.clients = library, clients
        self.sent = pickled("federation", parcel(plan, key, inner))
        self.source = pickled("clients", _travelling(clients))
        self.stillborn = 0
        self.records: dict[int, Any] = {}
        self.offer: Any = {}
        self.members: list[_Member] = []
        ours = not library.is_initialized()
        if ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
            library.init(
                include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING
            )
        self.ended = weakref.finalize(self, _end, library, self.members, ours)
        self.count = count or max(1, int(library.cluster_resources().get("CPU", 1)))
        self.remote = library.remote(num_cpus=1, max_restarts=0)(Actor)
        self.members += [self._new() for _ in range(self.count)]

    def _new(self) -> _Member:
        actor = self.remote.remote(self.sent, self.source)
        return _Member(actor, actor.serve.remote(None, {}))

    @property
    def size(self) -> int:
        """Number of actors."""
        return self.count

    @property
    def idle(self) -> Sequence[int]:
        """Those that wait for work."""
        return [number for number, member in enumerate(self.members) if member.call is None]

    @property
    def says(self) -> str:
        """How many there are."""
        actors = "1 Ray actor" if self.size == 1 else f"{self.size} Ray actors"
        return f"Clients run on {actors} with one core each."

    def publish(self, offer: Offer) -> None:
        """Put the offer where each machine fetches it once."""
        self.offer = self.ray.put(dict(offer))

    def ask(self, member: int, request: Request) -> None:
        """Send a request, with the records that it needs."""
        held = []
        if isinstance(request, Take) and isinstance(self.clients, NamedClients):
            held = [self._record(client) for client in request.clients]
        at = self.members[member]
        at.call = at.actor.serve.remote(request, self.offer, *held)

    def _record(self, client: int) -> Any:
        if client not in self.records:
            self.records[client] = self.ray.put(self.clients.examples(client))
        return self.records[client]

    def hear(self) -> list[tuple[int, Any]]:
        """Wait for replies and deaths."""
        calls = [member.call for member in self.members if member.call is not None]
        begun = any(member.started for member in self.members)
        ready, _ = self.ray.wait(calls, num_returns=1, timeout=None if begun else PATIENCE)
        if not ready:
            raise TacitError("run.worker-start", why="found no free core in the Ray cluster")
        found = []
        for number, member in enumerate(self.members):
            if member.call in ready:
                found += self._received(number, member)
        return found

    def _received(self, number: int, member: _Member) -> list[tuple[int, Any]]:
        try:
            reply: Done | Broken = self.ray.get(member.call)
        except self.ray.exceptions.RayError as error:
            return [(number, self._replaced(number, member, error))]
        if isinstance(reply, Broken):
            raise reply.error from Told(reply.told)
        member.call = None
        if member.started:
            return [(number, reply.value)]
        member.started, self.stillborn = True, 0
        return []

    def _replaced(self, number: int, member: _Member, error: Exception) -> Gone:
        """A new actor in the place of one that died; raises if they die before they begin."""
        why = f"is lost to Ray ({type(error).__name__})"
        self.stillborn = 0 if member.started else self.stillborn + 1
        if self.stillborn >= ATTEMPTS:
            raise TacitError("run.worker-start", why=why) from error
        self.ray.kill(member.actor)
        self.members[number] = self._new()
        return Gone(why)

    def close(self) -> None:
        """End all actors, and a Ray that was started for them."""
        self.ended()


def _travelling(clients: Clients) -> Clients:
    """What every actor gets of the clients: not the records in memory."""
    return Arrived(clients.names, {}) if isinstance(clients, NamedClients) else clients


def _end(library: Any, members: list[_Member], ours: bool) -> None:
    if not library.is_initialized():
        return
    for member in members:
        library.kill(member.actor)
    if ours:
        library.shutdown()
