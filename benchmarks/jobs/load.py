"""Clients that speak the true wire and learn nothing: COUNT of them, over TLS, in one process.

`idle FOLDER COUNT`: they wait for work until this process ends. `rounds FOLDER COUNT`: they join
the first run that they are shown and answer every round until it is over; an answer is the same
numbers always, but for the first one, so that no two answers are equal. The first line that is
printed says that all are connected.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

import msgspec
import numpy as np

from benchmarks.jobs.deployed import identity_of
from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.identity.authority import client_context
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Consider, Joining, Message, Open, Over, Poll, Turn, Work
from tacit.deploy.wire.signing import Head, signed
from tacit.deploy.wire.statements import encoded, joining_text

WAIT = 25.0
"""Seconds of a poll, as `tacit client` waits."""

PART = 8 << 20
"""Bytes of one piece of an upload, as `tacit client` sends them."""


@final
@dataclass
class Channel:
    """One connection; requests go one after the other."""

    identity: Identity
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    count: int = 0

    async def ask(self, method: str, target: str, body: Any = b"") -> bytes:
        """A signed request, and the body of the reply; a refusal ends this process."""
        path, _, query = target.partition("?")
        head = Head(method, path, query, hashlib.sha256(body).digest())
        self.count += 1
        nonce = f"{self.identity.id[:8]}{self.count}-{time.time_ns()}"
        lines = [f"{method} {target} HTTP/1.1", "Host: coordinator"]
        headers = signed(head, self.identity, int(time.time()), nonce)
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.writer.write("\r\n".join(lines).encode())
        if body:
            self.writer.write(body)
        await self.writer.drain()
        return await self._reply(target)

    async def _reply(self, target: str) -> bytes:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, size = int(head.split(" ", 2)[1]), 0
        for line in head.split("\r\n"):
            if line.startswith("content-length:"):
                size = int(line.partition(":")[2])
        found = await self.reader.readexactly(size)
        if status != 200:
            raise SystemExit(f"{status} for {target}: {found[:300]!r}")
        return found


@final
@dataclass
class Row:
    """The bytes of a run's answers, but for the last number, which is the client's own."""

    content: memoryview
    begun: Any

    @staticmethod
    def of(file: Path) -> Row:
        """An answer as a file, mapped."""
        content = np.memmap(file, np.uint8, "r").data[:-4]
        return Row(content, hashlib.sha256(content))

    def answer(self, index: int, round_: int) -> tuple[str, bytes]:
        """Its digest, and its last bytes."""
        last = np.array([1e-3 * (index + 1) + round_], "<f4").tobytes()
        digest = self.begun.copy()
        digest.update(last)
        return digest.hexdigest(), last


@final
@dataclass
class Client:
    """One client's life."""

    channel: Channel
    row: Row
    decided: list[str] = field(default_factory=list)
    open: dict[tuple[str, int], str] = field(default_factory=dict)

    async def poll(self) -> Work:
        """Wait for work."""
        waiting = tuple(Open(run, round_, found) for (run, round_), found in self.open.items())
        body = msgspec.json.encode(Poll(WAIT, waiting, tuple(self.decided)))
        work = msgspec.json.decode(await self.channel.ask("POST", "/v1/work", body), type=Work)
        for fate in work.fates:
            self.open.pop((fate.run, fate.round), None)
        return work

    async def work(self) -> None:
        """Until a run is over."""
        while True:
            for task in (await self.poll()).tasks:
                if isinstance(task, Consider):
                    await self._join(task)
                elif isinstance(task, Turn):
                    await self._answer(task)
                elif isinstance(task, Over):
                    return

    async def _join(self, task: Consider) -> None:
        me = self.channel.identity
        text = joining_text(task.run, task.digest, me.id, task.dataset)
        body: Message = Joining("accept", task.dataset, encoded(me.sign(text)))
        await self.channel.ask("POST", f"/v1/runs/{task.run}/joining", msgspec.json.encode(body))
        self.decided.append(task.run)

    async def _answer(self, task: Turn) -> None:
        row = self.row
        name, last = row.answer(task.index, task.round)
        size = len(row.content) + len(last)
        self.open[task.run, task.round] = name
        path = f"/v1/runs/{task.run}/rounds/{task.round}/answer?digest={name}&size={size}"
        for start in range(0, size, PART):
            stop = min(start + PART, size)
            body = bytes(row.content[start:stop]) + (last if stop == size else b"")
            await self.channel.ask("PUT", f"{path}&offset={start}", body)


async def opened(place: str, context: ssl.SSLContext, number: int) -> Channel:
    """A connection of the client of this number."""
    parts = urlsplit(place)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    return Channel(identity_of(number), reader, writer)


async def idle(client: Client) -> None:
    """Wait for work that never comes."""
    while True:
        await client.poll()


async def main(kind: str, folder: Path, count: int) -> None:
    """All clients at once."""
    known = read_coordinator(Home(folder / "researcher"))
    context, row = client_context(known.authority), Row.of(folder / "answer")
    clients = []
    for number in range(count):
        clients.append(Client(await opened(known.url, context, number), row))
    life = {"idle": idle, "rounds": Client.work}[kind]
    lives: list[Coroutine[Any, Any, None]] = [life(client) for client in clients]
    print(json.dumps({"connected": count}), flush=True)
    await asyncio.gather(*lives)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
