"""A network that cuts connections after so many bytes, in either direction."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import final


@final
@dataclass
class Proxy:
    """Passes bytes on to `port`; each connection ends after a random number of them.

    `most`: of these bytes, in both directions together; 0: nothing is cut any more.
    """

    port: int
    chance: random.Random
    most: int
    here: int = 0
    cuts: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, ready: threading.Event) -> None:
        """Until `stopping`."""
        server = await asyncio.start_server(self._passed, "127.0.0.1", 0)
        self.here = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await self.stopping.wait()

    async def _passed(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", self.port)
        left = [self.chance.randint(1, self.most) if self.most else -1]
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(near, forth, left))
                both.create_task(self._pump(far, back, left))
        except* (ConnectionError, EOFError):
            self.cuts += left[0] == 0
        finally:
            for writer in (back, forth):
                writer.transport.abort()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]
    ) -> None:
        while piece := await reader.read(1 << 14):
            if left[0] >= 0:
                piece = piece[: left[0]]
                left[0] -= len(piece)
            writer.write(piece)
            await writer.drain()
            if left[0] == 0:
                raise ConnectionResetError
        raise EOFError


@contextmanager
def cutting(port: int, seed: int, most: int) -> Iterator[Proxy]:
    """A proxy in a thread of its own."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    proxy = Proxy(port, random.Random(seed), most)  # noqa: S311

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.serve(ready))

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(proxy.stopping.set)
        thread.join()
