"""Time of a deployment: an argument everywhere, so that a test may hold it still or jump."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, final


class Clock(Protocol):
    """Seconds since 1970, and waiting. Wall clocks may jump: deadlines allow for that."""

    def now(self) -> float:
        """The current time in seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let others work for so long."""
        ...


@final
class RealClock:
    """The machine's wall clock."""

    def now(self) -> float:
        """The current time in seconds since 1970."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Let others work for so long."""
        await asyncio.sleep(seconds)
