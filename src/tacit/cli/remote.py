"""One call of a coordinator from a command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tacit.deploy.client.home import Home
from tacit.deploy.clock import RealClock
from tacit.deploy.remote import Remote, open_remote

T = TypeVar("T")


def with_remote(home: Home, work: Callable[[Remote], Awaitable[T]], url: str = "") -> T:
    """Connect with a home's key (at another address: `url`), do the work, and close."""

    async def go() -> T:
        remote = open_remote(home, RealClock(), os.urandom, url)
        try:
            return await work(remote)
        finally:
            await remote.close()

    return asyncio.run(go())
