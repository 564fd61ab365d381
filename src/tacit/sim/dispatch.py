"""Turns on a crew of processes or machines: who computes what, and what if one of them dies.

Longest clients first, from one queue. A member keeps the answers that it computed and gives back
their sum, so that a round moves one vector a member. Answers that die with a member are computed
again when they count: randomness has a name, so they come out the same. With floats the sums of the
members differ from one sum in the last bits, since who computes what depends on speed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, final

from tacit.base.errors import TacitError
from tacit.base.vector import Vector
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients, NamedClients
from tacit.plan.build import Plan
from tacit.round.close import add
from tacit.round.turn import Memories
from tacit.sim.backend import Problem, Receipt, Refusal
from tacit.sim.memory import MemoryStore, memory_for
from tacit.sim.work import Keep, Kept, Partial, Refused, Request, Take, Total

ATTEMPTS = 3
"""How often a sum is asked for, should members die with it, and a member is started."""


@final
@dataclass(frozen=True)
class Gone:
    """A member died; `why` goes on after "the process"."""

    why: str


class Crew(Protocol):
    """Members by number. One that dies is replaced under its number, with nothing in its hands."""

    @property
    def size(self) -> int:
        """How many members there are."""
        ...

    @property
    def idle(self) -> Sequence[int]:
        """Members that can be asked now."""
        ...

    @property
    def says(self) -> str:
        """What it is made of, in a line."""
        ...

    def publish(self, offer: Offer) -> None:
        """The offer for all requests from now on; nobody is at work."""
        ...

    def ask(self, member: int, request: Request) -> None:
        """Ask an idle member; the reply is heard later."""
        ...

    def hear(self) -> Iterable[tuple[int, Any]]:
        """Wait until there is news: replies by member, or `Gone`; raises when none can start."""
        ...

    def close(self) -> None:
        """End all members."""
        ...


@final
class Dispatch:
    """A backend on a crew (see `tacit.sim.backend.Backend`).

    What clients keep stays here and travels with the request, so any member can serve any client.
    `parts`: into how many requests a member's share of a round is divided; `exact`: a turn gives
    the same bytes whatever is computed beside it; `lent`: the crew goes on after this backend.
    """

    def __init__(
        self,
        plan: Plan,
        clients: Clients,
        crew: Crew,
        parts: int = 16,
        *,
        exact: bool = True,
        lent: bool = False,
    ) -> None:
        self.clients, self.crew, self.parts = clients, crew, parts
        self.exact, self.lent = exact, lent
        self.memories: MemoryStore = memory_for(len(clients), plan.cost.down)
        self.sizes: dict[int, int] = {}
        self.serial = self.round = 0
        self.holder: dict[int, int] = {}
        self.digests: dict[int, str] = {}
        self.asked: dict[int, Request] = {}
        self.deaths: Counter[int] = Counter()
        self.included: tuple[int, ...] = ()
        self.kept: dict[int, Memories] = {}

    @property
    def says(self) -> str:
        """One line for the user: where the clients are computed."""
        return self.crew.says

    def open(self, round_: int, offer: Offer) -> None:
        """Begin a round; members learn of it with their first request."""
        self._settle()
        self.serial, self.round = self.serial + 1, round_
        for held in (self.holder, self.digests, self.deaths, self.kept):
            held.clear()
        self.included = ()
        self.crew.publish(offer)

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        """Let these clients take their turns; results come as members finish."""
        for result in self._work(clients):
            if isinstance(result, Receipt):
                self.digests[result.client] = result.digest
            yield result

    def total(self, included: Iterable[int]) -> tuple[Vector, int]:
        """The members' sums, added in the members' order."""
        self.included = tuple(included)
        partial = cast(list[Partial], self._gather(Total, self.included))
        total, _ = add(one for one, _ in partial)
        return total, sum(count for _, count in partial)

    def commit(self, client: int) -> None:
        """Keep the memory of an included answer; those of the whole sum are fetched at once."""
        if client not in self.kept:
            wanted = self.included if client in self.included else (client,)
            for kept in cast(list[Kept], self._gather(Keep, wanted)):
                self.kept.update(kept)
        pending = self.kept.pop(client)
        if pending:
            self.memories.put(client, pending)

    def memory(self, client: int) -> Memories:
        """What the client keeps so far."""
        return self.memories.get(client)

    def close(self) -> None:
        """End the crew, unless it is lent; what clients keep stays."""
        if not self.lent:
            self.crew.close()

    def _work(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        self._settle()
        waiting = deque(portions(clients, self._size, self.parts * self.crew.size))
        while waiting or self.asked:
            for member in self.crew.idle[: len(waiting)]:
                self._ask(member, self._request(waiting.popleft()))
            for member, said, request in self._heard():
                if not isinstance(said, Gone):
                    yield from self._done(member, said)
                    continue
                again, refused = self._after(said, request)
                waiting.extendleft(again)
                yield from refused

    def _request(self, clients: tuple[int, ...]) -> Take:
        kept = {client: self.memories.get(client) for client in clients}
        held = {client: memories for client, memories in kept.items() if memories}
        return Take(self.serial, self.round, clients, held)

    def _done(self, member: int, said: Sequence[Receipt | Refused]) -> Iterator[Receipt | Refusal]:
        for result in said:
            if isinstance(result, Refused):
                yield result.here()
                continue
            self.holder[result.client] = member
            self.sizes[result.client] = result.examples
            yield result

    def _after(
        self, gone: Gone, request: Request | None
    ) -> tuple[list[tuple[int, ...]], list[Refusal]]:
        """Clients that get their second try, alone; and those that had it."""
        clients: tuple[int, ...] = request.clients if request else ()
        self.deaths.update(clients)
        again: list[tuple[int, ...]] = [(client,) for client in clients if self.deaths[client] < 2]
        refused = [self._refusal(client, gone) for client in clients if self.deaths[client] > 1]
        return again, refused

    def _refusal(self, client: int, gone: Gone) -> Refusal:
        name = self.clients.name(client)
        facts = {"client": name, "round": self.round, "why": gone.why}
        return Refusal(client, Problem(self.round, name, TacitError("round.process-died", **facts)))

    def _gather(
        self, ask: Callable[[tuple[int, ...]], Request], clients: tuple[int, ...]
    ) -> list[Any]:
        """Each member's reply about those of the clients whose answers it holds."""
        for _ in range(ATTEMPTS):
            self._ensure(clients)
            found = self._asked_all(ask, clients)
            if found is not None:
                return found
        raise TacitError("run.worker-failed", problem="members died again and again with a sum")

    def _asked_all(
        self, ask: Callable[[tuple[int, ...]], Request], clients: tuple[int, ...]
    ) -> list[Any] | None:
        shares: dict[int, list[int]] = {}
        for client in clients:
            shares.setdefault(self.holder[client], []).append(client)
        found: dict[int, Any] = {}
        for member, own in shares.items():
            self._ask(member, ask(tuple(own)))
        whole = True
        while self.asked:
            for member, said, _ in self._heard():
                if isinstance(said, Gone):
                    whole = whole and member not in shares
                else:
                    found[member] = said
        return [found[member] for member in sorted(found)] if whole else None

    def _ensure(self, clients: Iterable[int]) -> None:
        """Compute again what was lost, to the same answer; anything else ends the run."""
        lost = [client for client in clients if client not in self.holder]
        for result in self._work(lost) if lost else ():
            problem = "it came out differently"
            if isinstance(result, Refusal):
                problem = result.problem.error.cause
            elif not self.exact or result.digest == self.digests[result.client]:
                continue
            name = self.clients.name(result.client)
            raise TacitError("run.answer-lost", client=name, round=self.round, problem=problem)

    def _ask(self, member: int, request: Request) -> None:
        self.asked[member] = request
        self.crew.ask(member, request)

    def _settle(self) -> None:
        """Wait for members whose results nobody wants any more."""
        while self.asked:
            self._heard()

    def _heard(self) -> list[tuple[int, Any, Request | None]]:
        """News, with what each member was asked.

        All of it is taken note of before any is passed on: who listens may stop in the middle.
        """
        news = [(member, said, self.asked.pop(member, None)) for member, said in self.crew.hear()]
        for member, said, _ in news:
            if isinstance(said, Gone):
                self._forget(member)
        return news

    def _forget(self, member: int) -> None:
        for client in [client for client, held in self.holder.items() if held == member]:
            del self.holder[client]

    def _size(self, client: int) -> int:
        """Records of a client, as far as they are known without reading them."""
        if isinstance(self.clients, NamedClients):
            return self.clients.held[client].count
        return self.sizes.get(client, 1)


def portions(
    clients: Sequence[int], size: Callable[[int], int], parts: int
) -> list[tuple[int, ...]]:
    """The clients in about `parts` portions of equal size or less, the longest clients first."""
    sizes = {client: size(client) for client in clients}
    ordered = sorted(clients, key=lambda client: -sizes[client])
    limit = sum(sizes.values()) / parts
    found: list[list[int]] = []
    load = 0.0
    for client in ordered:
        if not found or load + sizes[client] > limit:
            found.append([])
            load = 0.0
        found[-1].append(client)
        load += sizes[client]
    return [tuple(portion) for portion in found]
