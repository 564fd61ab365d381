"""Requests that arrive: signed anew at every try, resumed, checked, and bounded."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.client.exchange import CHUNK, call, download, upload
from tacit.deploy.client.https import HttpsWire
from tacit.deploy.client.transport import (
    Refused,
    Request,
    Response,
    SignedTransport,
    received,
)
from tacit.deploy.clock import RealClock
from tacit.deploy.identity import authority
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire import messages as wire
from tacit.deploy.wire.signing import Head, check, parse
from tests.deploy.client.virtual import START, VirtualClock, played

ME = Identity.from_seed(b"m" * 32)
Answers = Callable[[Request, bytes, Mapping[str, str]], Response]


@dataclass
class Memory:
    """A wire whose every try is answered by the next function."""

    answers: Iterator[Answers]
    tries: list[Mapping[str, str]] = field(default_factory=list)

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        claimed = parse(headers)
        digest = hashlib.sha256(content).digest()
        check(Head(request.method, request.path, request.query, digest), claimed, ME.public)
        self.tries.append(headers)
        return next(self.answers)(request, content, headers)

    async def close(self) -> None:
        """Nothing is open."""


def fine(request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(200, {}, b"{}")


def lost(request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
    raise ConnectionResetError("reset by peer")


def says(status: int, code: str, **facts: Any) -> Answers:
    problem = wire.Problem(wire.ErrorFact(code, f"It is {code}.", "Do better.", facts))
    return lambda request, content, headers: Response(status, {}, wire.encode(problem))


def made(*answers: Answers, ahead: float = 0.0) -> tuple[SignedTransport, Memory]:
    memory = Memory(iter(answers))
    count = iter(range(10**6))
    fresh: Callable[[int], bytes] = lambda size: next(count).to_bytes(size, "big")  # noqa: E731
    return SignedTransport("https://there", memory, ME, VirtualClock(ahead), fresh), memory


def sent(transport: SignedTransport, request: Request | None = None) -> Response:
    return played(transport.send(request or Request("POST", "/v1/work", body=b"{}")))


def test_what_is_lost_is_sent_again_and_signed_anew() -> None:
    transport, memory = made(lost, says(503, "deploy.draining"), says(401, "request.stale"), fine)
    assert sent(transport).status == 200
    nonces = {parse(headers).nonce for headers in memory.tries}
    assert len(nonces) == 4


def test_patience_ends_with_a_clear_error() -> None:
    transport, memory = made(*[lost] * 6)
    with pytest.raises(TacitError) as wrong:
        sent(transport)
    assert wrong.value.code == "client.unreachable" and "reset by peer" in wrong.value.cause
    assert len(memory.tries) == 6


def test_a_refusal_is_not_repeated_and_cannot_write_to_the_terminal() -> None:
    transport, memory = made(says(403, "deploy.role"))
    with pytest.raises(Refused) as wrong:
        sent(transport)
    assert len(memory.tries) == 1
    assert (wrong.value.code, wrong.value.status) == ("deploy.role", 403)
    problem = wire.Problem(wire.ErrorFact("a.b", "bad\x1b[31m", "c", {}))
    transport, _ = made(lambda *_: Response(403, {}, wire.encode(problem)))
    with pytest.raises(Refused) as wrong:
        sent(transport)
    assert "\x1b" not in str(wrong.value)


def test_a_reply_that_is_not_tacits() -> None:
    transport, _ = made(lambda *_: Response(404, {}, b"<html>"))
    with pytest.raises(Refused) as wrong:
        sent(transport)
    assert wrong.value.code == "client.odd-reply" and "404" in wrong.value.cause


def test_a_clock_that_is_an_hour_off_is_told_once_and_forgiven() -> None:
    skew: list[float] = []
    transport, memory = made(says(401, "request.clock", now=START), fine, fine, ahead=3600.0)
    transport.on_skew = skew.append
    sent(transport)
    assert parse(memory.tries[0]).created == int(START) + 3600
    assert abs(parse(memory.tries[1]).created - int(START)) <= 1
    sent(transport)
    assert len(skew) == 1 and abs(skew[0] + 3600) < 1


def test_a_call_reads_its_message_or_says_so() -> None:
    transport, _ = made(lambda *_: Response(200, {}, b'{"index": 3}'), fine)
    assert played(call(transport, "GET", "/x", wire.Joined)).index == 3
    with pytest.raises(TacitError) as wrong:
        played(call(transport, "GET", "/x", wire.Joined))
    assert wrong.value.code == "client.odd-reply"


BLOB = bytes(range(256)) * 40
DIGEST = hashlib.sha256(BLOB).hexdigest()


def served(blob: bytes, cut: int = 0) -> Answers:
    """A file from the range on; the connection is cut after so many bytes."""

    def answer(request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
        start = int(headers.get("Range", "bytes=0-")[6:-1])
        part = blob[start : start + cut] if cut else blob[start:]
        received(request, 206 if start else 200, iter([part[:100], part[100:]]))
        if cut:
            raise ConnectionResetError
        return Response(206 if start else 200, {})

    return answer


@pytest.mark.parametrize("cut", [1, 99, 100, 5000, len(BLOB) - 1])
def test_a_download_goes_on_where_it_was_cut(tmp_path: Path, cut: int) -> None:
    transport, memory = made(served(BLOB, cut), served(BLOB))
    place = played(download(transport, DIGEST, len(BLOB), tmp_path / "blob"))
    assert place.read_bytes() == BLOB and memory.tries[1]["Range"] == f"bytes={cut}-"
    assert [file.name for file in tmp_path.iterdir()] == ["blob"]
    played(download(transport, DIGEST, len(BLOB), place))


def test_more_bytes_than_declared_are_refused_before_they_are_written(tmp_path: Path) -> None:
    transport, _ = made(served(BLOB + b"more"))
    with pytest.raises(TacitError) as wrong:
        played(download(transport, DIGEST, len(BLOB), tmp_path / "blob"))
    assert wrong.value.code == "client.odd-reply"
    assert (tmp_path / "blob.part").stat().st_size <= len(BLOB)


def test_other_bytes_are_refused_and_fetched_anew(tmp_path: Path) -> None:
    transport, _ = made(served(BLOB[::-1]), served(BLOB))
    with pytest.raises(TacitError) as wrong:
        played(download(transport, DIGEST, len(BLOB), tmp_path / "blob"))
    assert "other bytes" in wrong.value.cause and not any(tmp_path.iterdir())
    played(download(transport, DIGEST, len(BLOB), tmp_path / "blob"))


@dataclass
class Spool:
    """The coordinator's side of an upload; loses a piece's reply now and then."""

    held: bytearray = field(default_factory=bytearray)
    puts: int = 0

    def __call__(self, request: Request, content: bytes, headers: Mapping[str, str]) -> Response:
        query = dict(part.split("=") for part in request.query.split("&"))
        size = int(query["size"])
        if request.method == "PUT":
            self.puts += 1
            if int(query["offset"]) != len(self.held):
                return says(409, "store.offset")(request, content, headers)
            self.held += content
            if self.puts % 2:
                raise ConnectionResetError
        there = len(self.held)
        return Response(200, {}, wire.encode(wire.Offset(there, done=there == size)))


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_an_upload_arrives_once_and_whole(tmp_path: Path, size: int) -> None:
    file, spool = tmp_path / "answer", Spool()
    file.write_bytes(b"x" * size)
    transport, _ = made(*[spool] * 40)
    played(upload(transport, "/v1/runs/r/rounds/0/answer", file, "0" * 64, size))
    assert bytes(spool.held) == b"x" * size


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """A server with TLS 1.3 that echoes; its address and its authority."""
    found = authority.ensure(folder, ["localhost"], RealClock().now())

    class Echo(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    made_server = http.server.HTTPServer(("127.0.0.1", 0), Echo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.certificate, found.key)
    made_server.socket = context.wrap_socket(made_server.socket, server_side=True)
    thread = threading.Thread(target=made_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{made_server.server_address[1]}", found.authority_pem
    finally:
        made_server.shutdown()
        made_server.server_close()
        thread.join()


def echoed(url: str, pem: str) -> Response:
    async def once() -> Response:
        opened = HttpsWire.open(url, pem)
        try:
            return await opened.exchange(Request("POST", "/x", "a=1"), b"hello", {})
        finally:
            await opened.close()

    return asyncio.run(once())


def test_tls_with_the_pinned_authority_and_no_other(tmp_path: Path) -> None:
    other = authority.ensure(tmp_path / "other", ["localhost"], RealClock().now())
    with server(tmp_path / "mine") as (url, pem):
        assert echoed(url, pem).body == b"hello"
        with pytest.raises(ConnectionError, match="certificate verify failed"):
            echoed(url, other.authority_pem)
    with pytest.raises(ConnectionError):
        echoed(url, pem)
