"""The network between clients and the coordinator's true application, in memory.

Signed requests go in as they would over TLS; messages are lost, delayed, repeated and cut as the
schedule says. Everything that leaves a client and everything that the coordinator answers is seen.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

from starlette.types import ASGIApp

from tacit.deploy.client.transport import Request, Response, received
from tacit.testing.node import Node
from tacit.testing.schedule import Fault

PATIENCE: Final = 60.0
"""Seconds without a reply after which a client gives a request up, beside what it may wait."""


class Message(NamedTuple):
    """One request as it is on the wire."""

    sender: str
    request: Request
    content: bytes
    headers: Mapping[str, str]


Seen = Callable[[Message, Response | None], None]
"""Hears of a message that leaves (None), and of what the coordinator answers."""


@final
@dataclass
class Network:
    """`app`: the coordinator's application while it runs; `host`: its process."""

    host: Node
    chance: random.Random
    seen: Seen
    wrong: Callable[[str], None]
    app: ASGIApp | None = None
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    parted: dict[str, float] = field(default_factory=dict)
    last: Message | None = None

    def befall(self, name: str, fault: Fault) -> None:
        """Have the next message of a node go wrong."""
        self.faults.setdefault(name, []).append(fault)

    def part(self, name: str, seconds: float) -> None:
        """Let nothing through for a while."""
        until = self.host.loop.time() + seconds
        self.parted[name] = max(until, self.parted.get(name, 0.0))

    async def carry(self, message: Message) -> Response:
        """One message there and the reply back; `ConnectionError` where one of them is lost."""
        self.seen(message, None)
        fault = self._next(message)
        await asyncio.sleep(self._latency() + (fault.seconds if fault.what == "delay" else 0.0))
        self.last = message
        if self._parted(message.sender) or (fault.what == "lose" and fault.amount % 2 == 0):
            await asyncio.sleep(PATIENCE)
            raise ConnectionError("timed out")
        task = self._delivered(message, fault.amount if fault.what == "cut" else None)
        if fault.what == "repeat":
            life = self.host.deaths, self.host.clock.ahead
            self.host.loop.call_later(fault.seconds, self._repeat, message, task, life)
        reply = await self._replied(task, PATIENCE + message.request.wait)
        if fault.what == "lose" or self._parted(message.sender):
            await asyncio.sleep(PATIENCE)
            raise ConnectionError("timed out")
        await asyncio.sleep(self._latency())
        return reply

    async def strange(self, message: Message) -> Response | None:
        """What the coordinator answers to somebody's message; None if it is not there."""
        try:
            return await self._replied(self._delivered(message, None), PATIENCE)
        except ConnectionError:
            return None

    def _next(self, message: Message) -> Fault:
        """What befalls this message."""
        waiting = self.faults.get(message.sender, [])
        for place, fault in enumerate(waiting):
            if fault.what == "cut" and not message.content:
                continue
            del waiting[place]
            if fault.what == "delay" and fault.amount > 1:
                waiting.append(fault._replace(amount=fault.amount - 1))
            return fault
        return Fault(0.0, "", 0)

    def _latency(self) -> float:
        return self.chance.uniform(0.002, 0.05)

    def _parted(self, name: str) -> bool:
        now = self.host.loop.time()
        return any(now < self.parted.get(one, 0.0) for one in (name, self.host.name))

    def _delivered(self, message: Message, cut: int | None) -> asyncio.Task[Response]:
        if self.app is None or self.host.dead:
            raise ConnectionError("refused")
        return self.host.spawn(self._handled(self.app, message, cut))

    async def _handled(self, app: ASGIApp, message: Message, cut: int | None) -> Response:
        reply = await asked(app, message, cut)
        self.host.alive()
        self.seen(message, reply)
        self.host.operate()
        return reply

    async def _replied(self, task: asyncio.Task[Response], seconds: float) -> Response:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            raise ConnectionError("timed out")
        if task.cancelled() or task.exception() is not None:
            raise ConnectionError("cut")
        return task.result()

    def _repeat(
        self, message: Message, first: asyncio.Task[Response], life: tuple[int, float]
    ) -> None:
        if self.app is None or self.host.dead:
            return

        # Nonces are not kept on the disk: a coordinator that starts again takes what was signed
        # since by its clock, so a clock that was set back and a restart let a request in twice.
        forgot = self.host.deaths > life[0] and self.host.clock.ahead < life[1]

        async def again(app: ASGIApp) -> None:
            reply = await asked(app, message, None)
            done = first.done() and not first.cancelled() and first.exception() is None
            if done and first.result().status < 300 and reply.status < 300 and not forgot:
                self.wrong(f"a repeated request counted twice: {message.request.path}")

        self.host.spawn(again(self.app))


@final
@dataclass(frozen=True)
class Telephone:
    """A client's connection; a `Wire`."""

    network: Network
    node: Node

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        """Send and receive; `ConnectionError` where no whole reply came."""
        self.node.operate()
        message = Message(self.node.name, request, content, headers)
        reply = await self.network.carry(message)
        self.node.operate()
        body = received(request, reply.status, iter((reply.body,)))
        return Response(reply.status, reply.headers, body)

    async def close(self) -> None:
        """Nothing is open."""


async def asked(app: ASGIApp, message: Message, cut: int | None) -> Response:
    """One request to an application; `cut`: bytes after which the sender is gone."""
    request, content = message.request, message.content
    pieces: list[dict[str, Any]] = [{"type": "http.request", "body": content, "more_body": False}]
    if cut is not None and cut < len(content):
        pieces = [{"type": "http.request", "body": content[:cut], "more_body": True}]
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def tell(event: Any) -> None:
        said.append(event)

    await app(_scope(request, message.headers), receive, tell)
    headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    body = b"".join(one.get("body", b"") for one in said[1:])
    return Response(said[0]["status"], headers, body)


def _scope(request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("coordinator", 443),
        "client": ("client", 1),
    }
