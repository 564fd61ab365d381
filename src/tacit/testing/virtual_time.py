"""An asyncio event loop in virtual time: sleeping costs nothing, and order is always the same.

Where nothing is ready to run, the loop's time jumps to the next timer. So hours of waiting pass in
an instant, and the same program gives the same interleaving every time, as long as it uses no
threads and no sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar, final

T = TypeVar("T")


class Deadlock(Exception):
    """Everything waits for something that will never happen."""


@final
class _Jumps(selectors.SelectSelector):
    """Instead of waiting, lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.passed += timeout
        return []


@final
class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumps.passed


@final
class LoopClock:
    """A node's wall clock on a virtual loop: `ahead` seconds off, and it may be made to jump."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float = 1e9) -> None:
        self._loop, self._start, self.ahead = loop, start, 0.0

    def now(self) -> float:
        """What this node takes for the time."""
        return self._start + self._loop.time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        """Let others work for so long; a jump of the wall clock does not change it."""
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run a coroutine to its end in virtual time, then end the tasks that it left behind."""
    chosen = loop or VirtualLoop()
    try:
        asyncio.set_event_loop(chosen)
        return chosen.run_until_complete(main)
    finally:
        _end(chosen)
        asyncio.set_event_loop(None)
        chosen.close()


def _end(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
