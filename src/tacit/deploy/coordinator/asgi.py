"""The coordinator as an ASGI application: who may come in, with what, and how refusals look.

The order is fixed: method, draining, signature, replay, membership, role, size, body, digest,
message, handler. Nothing of a body is kept before its sender is known, and no handler runs for a
route whose table entry does not admit the member.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from traceback import format_exc
from typing import Any, final
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Happened

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.api import ROUTES, Route
from tacit.deploy.coordinator.call import NOBODY, Answer, Call
from tacit.deploy.coordinator.driver import LOG
from tacit.deploy.coordinator.openapi import openapi
from tacit.deploy.coordinator.people import public_key
from tacit.deploy.coordinator.replies import SAFE, Reply, refused, reply
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.identity.keys import member_id
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Message, printable
from tacit.deploy.wire.signing import Claimed, Head, check, parse

UNTIL_THE_END = frozenset({"/health", "/ready", "/metrics", "/v1/hello", "/openapi.json"})
"""Still answered while draining."""


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi(ROUTES))


def application(coordinator: Coordinator) -> ASGIApp:
    """The application; `ROUTES` is all that it serves."""
    coordinator.document = _document()
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    served = [Path(path, Door(coordinator, path, held)) for path, held in paths.items()]

    async def nowhere(request: Request, _: Exception) -> Response:
        path = printable(str(request.scope["path"])[:200])
        found = refused(TacitError("deploy.no-route", path=path))
        return Response(found.content, found.status, {**SAFE, **found.headers})

    app = Starlette(routes=served, exception_handlers={404: nowhere})
    app.router.redirect_slashes = False
    return app


@final
@dataclass(frozen=True)
class Door:
    """All methods of one path."""

    coordinator: Coordinator
    path: str
    routes: Mapping[str, Route]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        clock = asyncio.get_running_loop().time
        begun, here = clock(), self.coordinator
        here.serving += 1
        try:
            answer = await self._reply(scope, receive)
            sent = await self._sent(answer, scope, send)
        finally:
            here.serving -= 1
        here.metrics.sent.inc(sent)
        here.metrics.requests.labels(self.path, answer.status).inc()
        here.metrics.seconds.labels(self.path).observe(clock() - begun)

    async def _sent(self, answer: Reply, scope: Scope, send: Send) -> int:
        """Send it; a file may have been superseded, and removed, since it was looked for."""
        try:
            return await answer.send(scope, send, self.coordinator.offload)
        except FileNotFoundError:
            gone = TacitError("deploy.no-blob", digest=answer.file.name if answer.file else "")
            return await refused(gone).send(scope, send, self.coordinator.offload)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        """What goes back, whatever happens."""
        try:
            return reply(await self._answer(scope, receive))
        except TacitError as error:
            if error.code.startswith("store."):
                LOG.warning("store", code=error.code, cause=error.cause)
            return refused(error, self.routes)
        except Exception:  # noqa: BLE001  # the edge: whatever it is, a stranger learns nothing
            incident = self.coordinator.fresh(8).hex()
            trace = format_exc()  # as text: a logger that prints local variables prints bodies
            LOG.critical("request", incident=incident, route=self.path, trace=trace)
            return refused(TacitError("deploy.internal", incident=incident))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        here, method = self.coordinator, scope["method"]
        route = self.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(self.routes)
            raise TacitError("deploy.no-method", path=self.path, method=method, allowed=allowed)
        if here.draining and self.path not in UNTIL_THE_END:
            raise TacitError("deploy.draining")
        headers = _headers(scope)
        body = _Body(route.limit, receive, here)
        member, claimed, held = await self._admitted(route, scope, headers, body)
        found = Call(
            here,
            member,
            _converted(dict(scope.get("path_params", {})), route.at),
            _converted(_query(scope), route.query),
            held,
            body.pieces() if route.streamed else None,
            claimed.digest if claimed else b"",
            headers,
        )
        return await route.handler(found)

    async def _admitted(
        self, route: Route, scope: Scope, headers: Mapping[str, str], body: _Body
    ) -> tuple[Member, Claimed | None, Any]:
        """Who asks, what was claimed, and the body's message."""
        if route.roles is None and not route.own_key:
            return NOBODY, None, None
        claimed = parse(headers)
        head = _head(scope, claimed)
        member = NOBODY
        if route.roles is not None:
            member = self._member(route, head, claimed)
        body.declared(headers)
        if route.streamed:
            return member, claimed, None
        held = await _message(route, body, claimed)
        if route.own_key:
            self._own(head, claimed, public_key(held))
        return member, claimed, held

    def _member(self, route: Route, head: Head, claimed: Claimed) -> Member:
        """The member whose key signed, who has a part in this route."""
        here = self.coordinator
        member = here.members.get(claimed.keyid)
        if member is None:
            raise TacitError("member.unknown", keyid=claimed.keyid)
        check(head, claimed, member.public_key)
        here.replays.admit(claimed.keyid, claimed.nonce, claimed.created, here.clock.now())
        if member.revoked is not None:
            raise TacitError("member.revoked", name=member.name)
        assert route.roles is not None
        if member.role not in route.roles:
            needed = " or ".join(sorted(route.roles))
            raise TacitError("member.role", name=member.name, role=member.role, needed=needed)
        return member

    def _own(self, head: Head, claimed: Claimed, key: bytes) -> None:
        """An enrolment is signed by the key that it brings."""
        here = self.coordinator
        if claimed.keyid != member_id(key):
            raise TacitError("member.key")
        check(head, claimed, key)
        here.replays.admit(claimed.keyid, claimed.nonce, claimed.created, here.clock.now())


@final
class _Body:
    """The bytes of a request, at most `limit`."""

    def __init__(self, limit: int, receive: Receive, coordinator: Coordinator) -> None:
        self._limit, self._receive, self._coordinator = limit, receive, coordinator

    def declared(self, headers: Mapping[str, str]) -> None:
        """Refuse before the first byte what declares to be too large."""
        if headers.get("content-encoding", "identity") != "identity":
            raise TacitError("deploy.encoding", encoding=headers["content-encoding"][:40])
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 20:
            raise TacitError("request.malformed", part="Content-Length", why="it is no number")
        if int(length) > self._limit:
            raise TacitError("deploy.too-large", limit=self._limit)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; `deploy.too-large`, `deploy.cut`, `deploy.slow`."""
        count, more = 0, True
        while more:
            event = await self._event()
            if event["type"] == "http.disconnect":
                raise TacitError("deploy.cut")
            piece, more = event.get("body", b""), event.get("more_body", False)
            count += len(piece)
            if count > self._limit:
                raise TacitError("deploy.too-large", limit=self._limit)
            if piece:
                self._coordinator.metrics.received.inc(len(piece))
                yield piece

    async def _event(self) -> Happened:
        """The next piece, unless it lets itself be waited for."""
        patience = self._coordinator.settings.patience
        try:
            async with asyncio.timeout(patience):
                return await self._receive()
        except TimeoutError as slow:
            raise TacitError("deploy.slow", seconds=patience) from slow


async def _message(route: Route, body: _Body, claimed: Claimed) -> Any:
    """The body, if it is the one that was signed, as the route's message."""
    held = bytearray()
    async for piece in body.pieces():
        held += piece
    if hashlib.sha256(held).digest() != claimed.digest:
        raise TacitError("request.digest")
    if route.takes is None:
        return None
    try:
        return msgspec.json.decode(held, type=route.takes)
    except msgspec.ValidationError as wrong:
        raise TacitError("deploy.meaning", problem=str(wrong)) from wrong
    except (msgspec.DecodeError, RecursionError) as wrong:
        raise TacitError("deploy.not-json", problem=str(wrong)) from wrong


def _head(scope: Scope, claimed: Claimed) -> Head:
    """What the signature covers, as it came over the wire."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    path = raw.partition(b"?")[0].decode("latin-1")
    return Head(scope["method"], path, scope["query_string"].decode("latin-1"), claimed.digest)


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name; what is there twice is joined, and fits no rule any more."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _query(scope: Scope) -> dict[str, str]:
    text = scope["query_string"].decode("latin-1")
    pairs = (
        parse_qsl(text, keep_blank_values=True, max_num_fields=20) if text.count("&") < 20 else ()
    )
    found = dict(pairs)
    if len(found) != (text.count("&") + 1 if text else 0):
        raise TacitError("deploy.meaning", problem="the query names something twice or nothing")
    return found


def _converted(found: dict[str, str], wanted: type[Message] | None) -> Any:
    """Parts of the address as a message."""
    if wanted is None:
        if found:
            raise TacitError("deploy.meaning", problem=f"there is no {next(iter(found))} here")
        return None
    try:
        return msgspec.convert(found, wanted, strict=False)
    except msgspec.ValidationError as wrong:
        raise TacitError("deploy.meaning", problem=str(wrong)) from wrong
