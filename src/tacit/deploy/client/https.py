"""The wire over HTTPS: httpx in a thread, TLS 1.3, no authority but the pinned one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, final

import httpx

from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.client.transport import Request, Response, SignedTransport, received
from tacit.deploy.clock import Clock
from tacit.deploy.identity.authority import client_context
from tacit.deploy.identity.keys import Identity

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT, _REPLY = 10.0, 60.0
"""Seconds for a connection, and for a reply beyond what the request may wait."""


@final
@dataclass(frozen=True)
class HttpsWire:
    """One pool of connections. Proxies come from the environment, authorities never do."""

    client: httpx.Client

    @staticmethod
    def open(url: str, authority: str | None) -> HttpsWire:
        """`authority`: the pinned certificate (PEM); None: those of the system."""
        limits = httpx.Limits(max_connections=4, keepalive_expiry=300.0)
        context = client_context(authority)
        return HttpsWire(httpx.Client(base_url=url, verify=context, limits=limits))

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        """Send and receive; `ConnectionError` where no whole reply came."""
        return await in_thread(self._exchange, request, content, headers)

    async def close(self) -> None:
        """Drop the connections."""
        self.client.close()

    def _exchange(self, request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
        target = f"{request.path}?{request.query}" if request.query else request.path
        timeout = httpx.Timeout(_REPLY + request.wait, connect=_CONNECT)
        try:
            with self.client.stream(
                request.method, target, content=content, headers=dict(headers), timeout=timeout
            ) as reply:
                body = received(request, reply.status_code, reply.iter_bytes())
                return Response(reply.status_code, dict(reply.headers), body)
        except httpx.TransportError as lost:
            raise ConnectionError(str(lost) or type(lost).__name__) from lost


def https_transport(
    home: Home,
    clock: Clock,
    fresh: Callable[[int], bytes],
    on_skew: Callable[[float], None] | None = None,
    url: str = "",
) -> SignedTransport:
    """The transport of a home: its key, its coordinator (elsewhere: `url`), its authority."""
    known = read_coordinator(home)
    url = url or known.url
    wire = HttpsWire.open(url, known.authority or None)
    made = SignedTransport(url, wire, Identity.load(home.key), clock, fresh)
    if on_skew is not None:
        made.on_skew = on_skew
    return made


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread that does not hold up the end of the process.

    `asyncio.to_thread` would: its threads are waited for, and a long poll may last a minute.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def work() -> None:
        result, error = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as raised:  # noqa: BLE001 - it is raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=work, daemon=True, name="tacit-https").start()
    return await future
