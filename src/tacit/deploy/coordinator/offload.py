"""Work that may block, done where it holds up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a function that may block, elsewhere."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """What `work` returns or raises."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """In a thread of the event loop's pool."""
    return await asyncio.to_thread(work)


async def unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Let work end that was begun: what is journalled must be folded in too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
