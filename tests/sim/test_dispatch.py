"""The dispatch never loses sight of a member, whoever stops listening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tacit.base.key import Key
from tacit.learn.algorithm import Offer
from tacit.learn.examples import as_clients
from tacit.sim.backend import Receipt
from tacit.sim.dispatch import Dispatch
from tacit.sim.work import Request, Take
from tests.sim.crews import COUNT, data, federation

KEY = Key.seed(1)


class Together:
    """A crew whose two members always reply at the same moment, once each."""

    size, says = 2, "two at once"

    def __init__(self) -> None:
        self.asked: dict[int, Request] = {}

    @property
    def idle(self) -> Sequence[int]:
        return [member for member in range(self.size) if member not in self.asked]

    def publish(self, offer: Offer) -> None:
        assert not self.asked

    def ask(self, member: int, request: Request) -> None:
        self.asked[member] = request

    def hear(self) -> list[tuple[int, Any]]:
        assert self.asked, "it would wait for ever"
        replies = {member: self._reply(request) for member, request in self.asked.items()}
        self.asked.clear()
        return list(replies.items())

    def close(self) -> None: ...

    def _reply(self, request: Request) -> list[Receipt]:
        assert isinstance(request, Take)
        return [Receipt(client, f"{client}", 0.0, 1) for client in request.clients]


def test_who_stops_listening_among_replies_leaves_nobody_waiting() -> None:
    plan, clients = federation().plan(), as_clients(data())
    dispatch = Dispatch(plan, clients, Together())
    offer = plan.algorithm.offer(plan.algorithm.start(plan.start(KEY)))
    dispatch.open(0, offer)
    heard = dispatch.take(range(COUNT))
    next(iter(heard))
    heard.close()  # type: ignore[attr-defined]  # it is a generator
    dispatch.open(1, offer)
    assert {one.client for one in dispatch.take(range(COUNT))} == set(range(COUNT))
