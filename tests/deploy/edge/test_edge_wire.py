"""A real server and a raw TLS socket: whatever is written to it, it refuses, or hangs up.

It neither fails, nor waits, nor grows, and goes on to serve the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.deploy.coordinator.api import ROUTES
from tacit.deploy.coordinator.serve import Serving, configure_logs, running
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.signing import Head, signed

HOST = b"Host: coordinator\r\n"
ENROL, HELLO, MEMBERS = "/v1/enrol", "/v1/hello", "/v1/members"
PATIENCE = 1.0


@dataclass
class Socket:
    """Connections to a server, and requests signed by its operator."""

    port: int
    context: ssl.SSLContext
    operator: Identity
    count: int = field(default=0)

    async def say(self, raw: bytes, wait: float = 5.0) -> bytes:
        """All that comes back until a whole reply is there or the server hangs up."""
        here = ("127.0.0.1", self.port)
        reader, writer = await asyncio.open_connection(*here, ssl=self.context)
        try:
            writer.write(raw)
            async with asyncio.timeout(wait):
                return await _reply(reader)
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    def signed(self, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        self.count += 1
        head = Head(method, path, query, hashlib.sha256(body).digest())
        found = signed(head, self.operator, int(time.time()), f"n{self.count}")
        return "".join(f"{name}: {value}\r\n" for name, value in found.items()).encode()


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """Until a status other than 100 has come with its body, or the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n") or head.startswith(b"HTTP/1.1 100"):
        head = b"" if head.endswith(b"\r\n\r\n") else head
        line = await reader.readline()
        if not line:
            return head
        head += line
    fields = dict(one.lower().split(b": ", 1) for one in head.split(b"\r\n")[1:-2])
    body = await reader.read(int(fields.get(b"content-length", b"0")))
    return head + body


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Socket]:
    configure_logs("none")
    serving = Serving(folder / "coordinator", port=0, hosts=("127.0.0.1",))
    quick = replace(serving, settings=Settings(patience=PATIENCE))
    async with running(quick) as told:
        context = ssl.create_default_context(cadata=told.authority_pem)
        context.check_hostname = False
        port = int(told.url.rpartition(":")[2])
        made = Socket(port, context, Identity.load(told.operator_key))
        while b" 200 " not in await made.say(request("GET", MEMBERS, made.signed("GET", MEMBERS))):
            await asyncio.sleep(0.1)  # of its first second nothing is admitted
        yield made


def request(method: str, path: str, headers: bytes = b"", body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + HOST + headers + b"\r\n" + body


class Try(NamedTuple):
    """What is written, and which statuses may come back; 0: it hangs up."""

    raw: bytes
    statuses: tuple[int, ...]
    code: str = ""


REFUSED = (0, 400)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PUBLIC: dict[str, Try] = {
    "a host that is none": Try(
        b"GET /nowhere HTTP/1.1\r\nHost: [\r\n\r\n", (404,), "deploy.no-route"
    ),
    "OPTIONS *": Try(request("OPTIONS", "*"), (404,), "deploy.no-route"),
    "OPTIONS": Try(request("OPTIONS", HELLO), (405,), "deploy.no-method"),
    "TRACE": Try(request("TRACE", HELLO), (405,), "deploy.no-method"),
    "CONNECT": Try(request("CONNECT", "here:443"), (404,), "deploy.no-route"),
    "lower case": Try(request("get", HELLO), (405,), "deploy.no-method"),
    "a method of our own": Try(request("FROB", HELLO), (405,), "deploy.no-method"),
    "HTTP/0.9": Try(b"GET /v1/hello\r\n", REFUSED),
    "HTTP/2": Try(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "noise": Try(bytes(range(256)), REFUSED),
    "TLS in TLS": Try(b"\x16\x03\x01\x02\x00\x01", REFUSED),
    "no UTF-8": Try(b"GET /v1/\xff\xfe HTTP/1.1\r\n\r\n", REFUSED),
    "no UTF-8, encoded": Try(request("GET", "/v1/%ff%fe"), (404,), "deploy.no-route"),
    "half a pair": Try(request("GET", "/v1/%ed%a0%80"), (404,), "deploy.no-route"),
    "control characters": Try(request("GET", "/%00%0a%1b[31m"), (404,), "deploy.no-route"),
    "no hexadecimal": Try(request("GET", "/v1/%zz"), (404,), "deploy.no-route"),
    "double slash": Try(request("GET", "//v1/hello"), (404,), "deploy.no-route"),
    "dots": Try(request("GET", "/v1/../v1/hello"), (404,), "deploy.no-route"),
    "a long path": Try(request("GET", "/" + "a" * 100_000), (0, 414)),
    "a huge header": Try(request("GET", HELLO, b"X: " + b"a" * 1_000_000 + b"\r\n"), (0, 431)),
    "thousands of headers": Try(request("GET", HELLO, b"X: a\r\n" * 5000), (0, 431)),
    "a folded header": Try(request("GET", HELLO, b"X: a\r\n b\r\n"), REFUSED),
    "a space before the colon": Try(request("GET", HELLO, b"Content-Length : 5\r\n"), REFUSED),
    "a zero byte": Try(request("GET", HELLO, b"X: a\0b\r\n"), REFUSED),
    "two lengths": Try(
        request("POST", ENROL, b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), REFUSED
    ),
    "a negative length": Try(request("POST", ENROL, b"Content-Length: -5\r\n"), REFUSED),
    "a length with a sign": Try(
        request("POST", ENROL, b"Content-Length: +5\r\n", b"hello"), REFUSED
    ),
    "a length beyond 64 bits": Try(
        request("POST", ENROL, b"Content-Length: " + b"9" * 30 + b"\r\n"), REFUSED
    ),
    "an unknown coding": Try(request("POST", ENROL, b"Transfer-Encoding: cow\r\n"), REFUSED),
    "two codings": Try(
        request("POST", ENROL, CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), REFUSED
    ),
    "a coding behind a tab": Try(
        request("POST", ENROL, b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), REFUSED
    ),
    "unsigned": Try(request("GET", MEMBERS), (401,), "request.unsigned"),
    "signed with noise": Try(
        request(
            "GET",
            MEMBERS,
            b"Content-Digest: \xb2\r\nSignature-Input: \xff\r\nSignature: \xff\r\n",
        ),
        (400,),
        "request.malformed",
    ),
    "overridden methods": Try(
        request("GET", HELLO, b"X-HTTP-Method-Override: POST\r\nX-Original-URL: /v1/members\r\n"),
        (200,),
    ),
    "a websocket": Try(
        request("GET", HELLO, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), (200,)
    ),
}


def of_operator(here: Socket) -> dict[str, Try]:
    """Requests that the operator signed, and that are wrong in another way."""

    def post(headers: bytes, body: bytes = b"", what: bytes = b"") -> bytes:
        return request("POST", ENROL, here.signed("POST", ENROL, "", what) + headers, body)

    def spelled(wire: str, meant: str) -> bytes:
        return request("GET", wire, here.signed("GET", meant))

    return {
        "2^53 bytes": Try(
            post(b"Content-Length: 9007199254740992\r\n"), (413,), "deploy.too-large"
        ),
        "a body that stays away": Try(post(b"Content-Length: 5\r\n"), (408,), "deploy.slow"),
        "a body that was promised": Try(
            post(b"Expect: 100-continue\r\nContent-Length: 5\r\n"), (408,), "deploy.slow"
        ),
        "a chunk without end": Try(post(CHUNKED, b"ffffffffffffffff\r\nabc"), (0, 400, 408)),
        "a chunk of no size": Try(post(CHUNKED, b"zz\r\nabc"), (400,), "deploy.cut"),
        "an endless extension": Try(post(CHUNKED, b"0;" + b"a" * 200_000), (400,), "deploy.cut"),
        "a trailer": Try(post(CHUNKED, b"0\r\nSignature: x\r\n\r\n"), (400,), "deploy.not-json"),
        "more than declared at once": Try(
            post(CHUNKED, b"2000\r\n" + b" " * 0x2000 + b"\r\n0\r\n\r\n"),
            (413,),
            "deploy.too-large",
        ),
        "a bomb": Try(post(b"Content-Encoding: gzip\r\n"), (415,), "deploy.encoding"),
        "another spelling": Try(spelled("/v1/%6dembers", MEMBERS), (401,), "request.signature"),
        "its own spelling": Try(spelled("/v1/%6dembers", "/v1/%6dembers"), (200,)),
        "a query unsigned": Try(spelled("/v1/members?x=1", MEMBERS), (401,), "request.signature"),
        "doubled signatures": Try(
            request("GET", MEMBERS, here.signed("GET", MEMBERS) + here.signed("GET", MEMBERS)),
            (400,),
            "request.malformed",
        ),
        "a path beside the one asked": Try(
            request("GET", "/v1//members", here.signed("GET", "/v1//members")),
            (404,),
            "deploy.no-route",
        ),
    }


def test_every_oddity_is_refused_by_name_and_the_next_request_is_served(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as here:
            before = psutil.Process().memory_info().rss
            for name, attempt in (PUBLIC | of_operator(here)).items():
                found = await here.say(attempt.raw)
                status = int(found.split(b" ", 2)[1]) if found else 0
                assert status in attempt.statuses, (name, found)
                assert attempt.code.encode() in found, (name, found)
                assert b"\x1b" not in found and b"deploy.internal" not in found
            assert psutil.Process().memory_info().rss - before < 64 << 20
            assert b" 200 OK" in await here.say(request("GET", HELLO))

    asyncio.run(run())


SMUGGLED = request("GET", MEMBERS)
BEHIND = {
    "a length and chunks": b"Content-Length: 5\r\n" + CHUNKED,
    "chunks and a length": CHUNKED + b"Content-Length: 5\r\n",
}


@pytest.mark.parametrize("name", BEHIND)
def test_nothing_is_smuggled_behind_a_request(name: str, tmp_path: Path) -> None:
    """Two ways to say how long a body is: the connection ends behind the first request."""

    async def run() -> None:
        async with served(tmp_path) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port, ssl=here.context)
            body = b"0\r\n\r\n" + SMUGGLED
            writer.write(request("POST", ENROL, BEHIND[name], body))
            async with asyncio.timeout(5):
                found = await reader.read()
            assert found.count(b"HTTP/1.1") == 1
            writer.close()

    asyncio.run(run())


def test_the_body_of_a_request_is_not_the_next_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with served(tmp_path) as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port, ssl=here.context)
            length = f"Content-Length: {len(SMUGGLED)}\r\n".encode()
            writer.write(request("GET", HELLO, length, SMUGGLED) + request("GET", "/health"))
            writer.write(request("GET", "/nowhere", b"Connection: close\r\n"))
            async with asyncio.timeout(5):
                found = await reader.read()
            assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] in (
                [b"200", b"200", b"404"],
                [b"200"],
            )
            assert b"request.unsigned" not in found
            writer.close()

    asyncio.run(run())


TARGETS = [*sorted({one.path for one in ROUTES}), "", "*", "/", "/v1/%2e%2e/health", "/v1/runs/%"]


def test_no_bytes_make_a_server_fail(tmp_path: Path) -> None:
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "\0"]
    with asyncio.Runner() as runner:
        serving = served(tmp_path)
        here = runner.run(serving.__aenter__())

        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.sampled_from(methods),
            st.sampled_from(TARGETS),
            st.binary(max_size=40),
            st.lists(st.binary(min_size=1, max_size=30), max_size=4),
        )
        def attempt(method: str, path: str, tail: bytes, headers: list[bytes]) -> None:
            said = b"\r\n".join(one.replace(b"\r", b"").replace(b"\n", b"") for one in headers)
            line = f"{method} {path}".encode() + tail.replace(b"\n", b"") + b" HTTP/1.1\r\n"
            raw = line + HOST + b"Connection: close\r\n" + (said and said + b"\r\n") + b"\r\n"
            found = runner.run(here.say(raw))
            assert not found or int(found.split(b" ", 2)[1]) < 500, (raw, found)

        try:
            attempt()
            assert b" 200 OK" in runner.run(here.say(request("GET", HELLO)))
        finally:
            runner.run(serving.__aexit__(None, None, None))
