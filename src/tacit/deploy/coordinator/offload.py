"""Work that may block, done where it holds up nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a function that may block, elsewhere."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises."""
        ...
