"""Requests to the coordinator: signed anew at every try, repeated with patience.

`Wire` carries one try (HTTPS, or a test's memory); `SignedTransport` makes requests out of tries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, final

import msgspec

from tacit.base.errors import TacitError
from tacit.deploy.clock import Clock
from tacit.deploy.identity.keys import Identity
from tacit.deploy.store import faults
from tacit.deploy.wire.messages import ErrorFact, Problem, printable
from tacit.deploy.wire.signing import Head, signed

LARGEST_REPLY: Final = 32 << 20
"""Bytes of a reply that is not a file."""

_BUSY: Final = frozenset({502, 503, 504})


class Part(NamedTuple):
    """A piece of a file as a body."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with faults.disk(self.path), self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Into(NamedTuple):
    """A file that takes the reply's body from where it ends, and its whole size."""

    path: Path
    size: int

    @property
    def there(self) -> int:
        """Bytes that were received before."""
        return self.path.stat().st_size if self.path.exists() else 0


@final
@dataclass(frozen=True)
class Request:
    """`path` and `query` as on the wire (percent-encoded); `wait`: seconds the reply may take.

    `once`: a try that was cut is told at once, to a caller who can do better than repeat it.
    """

    method: str
    path: str
    query: str = ""
    body: bytes | Part = b""
    into: Into | None = None
    wait: float = 0.0
    once: bool = False


@final
@dataclass(frozen=True)
class Response:
    """A reply; `body` is empty where it went into a file. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Refused(TacitError):
    """What the coordinator answered instead: its own code, cause and remedy, made printable."""

    def __init__(self, status: int, error: ErrorFact) -> None:
        cause, remedy, code = _plain(error.cause), _plain(error.remedy), _plain(error.code)
        super().__init__("client.refused", cause=cause, remedy=remedy, status=status, refusal=code)
        self.status = status
        self.code = code
        self.told = dict(error.facts)
        self.args = (f"{cause}\n  remedy: {remedy}\n  [{code}]",)

    def __reduce__(self) -> tuple[type[Refused], tuple[int, ErrorFact]]:
        return Refused, (self.status, ErrorFact(self.code, self.cause, self.remedy, self.told))


class Wire(Protocol):
    """One try of a request."""

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        """Send and receive; `ConnectionError` where no whole reply came.

        The body of a reply of status 200 or 206 goes to `request.into` by `received`.
        """
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...


class Transport(Protocol):
    """Requests that arrive, or a clear error."""

    async def send(self, request: Request) -> Response:
        """The reply of status 2xx; raises `Refused`, `client.unreachable`, store.*."""
        ...

    async def close(self) -> None:
        """Drop the connections."""
        ...


def _silent(_skew: float) -> None:
    return None


@final
@dataclass
class SignedTransport:
    """Signs, repeats what did not arrive, and goes by the coordinator's clock where they differ.

    `fresh` gives random bytes (nonces, jitter); `on_skew` hears once by how many seconds this
    machine's clock is behind; `tries` are made with a pause that doubles from `first` seconds.
    """

    url: str
    wire: Wire
    identity: Identity
    clock: Clock
    fresh: Callable[[int], bytes]
    on_skew: Callable[[float], None] = _silent
    tries: int = 6
    first: float = 0.25
    longest: float = 15.0
    offset: float = field(default=0.0, init=False)

    async def send(self, request: Request) -> Response:
        """The reply of status 2xx; raises `Refused`, `client.unreachable`, store.*."""
        content = request.body.read() if isinstance(request.body, Part) else request.body
        digest = hashlib.sha256(content).digest()
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                await self.clock.sleep(self._pause(attempt - 1))
            try:
                reply = await self.wire.exchange(request, content, self._headers(request, digest))
            except ConnectionError as lost:
                problem = str(lost) or type(lost).__name__
                if request.once:
                    break
                continue
            if reply.status // 100 == 2:
                return reply
            refused = refusal(reply)
            problem = refused.cause
            if not self._again(reply, refused):
                raise refused
        raise TacitError("client.unreachable", url=self.url, problem=_plain(problem).rstrip("."))

    async def close(self) -> None:
        """Drop the connections."""
        await self.wire.close()

    def _headers(self, request: Request, digest: bytes) -> dict[str, str]:
        head = Head(request.method, request.path, request.query, digest)
        created = max(int(self.clock.now() + self.offset), 0)
        headers = signed(head, self.identity, created, self.fresh(16).hex())
        if request.body:
            kind = "octet-stream" if isinstance(request.body, Part) else "json"
            headers["Content-Type"] = f"application/{kind}"
        if request.into is not None and (there := request.into.there):
            headers["Range"] = f"bytes={there}-"
        return headers

    def _again(self, reply: Response, refused: Refused) -> bool:
        """Whether to repeat: a stale signature, a wrong clock, a coordinator that restarts."""
        if refused.code == "request.clock":
            now = refused.told.get("now")
            if not isinstance(now, int | float):
                return False
            known, self.offset = self.offset, now - self.clock.now()
            if known == 0.0:
                self.on_skew(self.offset)
            return True
        return refused.code == "request.stale" or reply.status in _BUSY

    def _pause(self, attempt: int) -> float:
        """Doubling, with up to half of it left to chance, so that clients do not come at once."""
        chance = int.from_bytes(self.fresh(4), "big") / 2**32
        return min(self.first * 2.0**attempt, self.longest) * (0.5 + chance / 2)


def refusal(reply: Response) -> Refused:
    """The error in a reply; a reply that is no error message of tacit's says its status alone."""
    try:
        return Refused(reply.status, msgspec.json.decode(reply.body, type=Problem).error)
    except msgspec.DecodeError:
        cause = f"The coordinator, or something before it, answered with status {reply.status}."
        remedy = "Check the address, and any proxy on the way."
        return Refused(reply.status, ErrorFact("client.odd-reply", cause, remedy))


def received(request: Request, status: int, chunks: Iterator[bytes]) -> bytes:
    """Take in a reply's body: into the request's file where it has one and the reply is the file.

    More bytes than declared are `client.odd-reply`, before they are written.
    """
    if request.into is None or status not in (200, 206):
        return _bounded(chunks)
    path, size = request.into
    there = request.into.there if status == 206 else 0
    with faults.disk(path), path.open("ab" if there else "wb") as file:
        for chunk in chunks:
            there += len(chunk)
            if there > size:
                problem = f"more than the {size} bytes that it declared"
                raise TacitError("client.odd-reply", problem=problem)
            file.write(chunk)
    return b""


def _bounded(chunks: Iterator[bytes]) -> bytes:
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > LARGEST_REPLY:
            raise TacitError("client.odd-reply", problem="it does not end")
    return bytes(found)


def _plain(text: str) -> str:
    """What a stranger sent, safe for a terminal and a log."""
    return printable(text[:2000])
