"""Waiting without asking: whoever waits is woken by name, and costs nothing meanwhile."""

from __future__ import annotations

import asyncio
from typing import final


@final
class Bells:
    """Wakes those who wait for a name. For one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self.count = 0

    async def wait(self, name: str, seconds: float) -> bool:
        """Until the name rings, at most so long; whether it rang."""
        bell = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, set()).add(bell)
        self.count += 1
        try:
            async with asyncio.timeout(seconds):
                await bell
        except TimeoutError:
            return False
        finally:
            self.count -= 1
            self._leave(name, bell)
        return True

    def ring(self, *names: str) -> None:
        """Wake everybody who waits for one of these names."""
        for name in names:
            for bell in self._waiting.pop(name, ()):
                if not bell.done():
                    bell.set_result(None)

    def ring_all(self) -> None:
        """Wake everybody."""
        self.ring(*tuple(self._waiting))

    def _leave(self, name: str, bell: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.discard(bell)
            if not waiting:
                del self._waiting[name]
