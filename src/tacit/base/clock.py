"""Time is an argument: a clock that only moves when told."""

from __future__ import annotations

from typing import Protocol, final


class Clock(Protocol):
    """Seconds since some fixed moment, never going backwards."""

    def now(self) -> float:
        """The current time in seconds."""
        ...


@final
class VirtualClock:
    """A clock for simulations and tests: `advance` moves it, nothing else does."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """The current virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward; a negative amount is refused."""
        if seconds < 0:
            raise ValueError("a clock does not go backwards")
        self._now += seconds
