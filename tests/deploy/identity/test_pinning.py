from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.identity.authority import Certificates, ensure
from tacit.deploy.identity.pinning import client_context, fetch_pinned

HERE = "127.0.0.1"
OTHER_NAME = "127.0.0.2"  # also this machine, but not in the certificate


@contextmanager
def served(
    certificate: Path, key: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server on all local addresses: its port, and what its clients sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as secure:
                    heard.append(secure.recv(1000))
            except OSError:
                heard.append(b"")

    with listening(Handler) as port:
        yield port, heard


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.TCPServer(("", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> Certificates:
    return ensure(tmp_path_factory.mktemp("tls"), ["fl.example.org"], time.time())


@pytest.fixture(scope="module")
def other(tmp_path_factory: Any) -> Certificates:
    return ensure(tmp_path_factory.mktemp("other"), ["fl.example.org"], time.time())


def refusal(port: int, fingerprint: str, host: str = HERE, timeout: float = 10.0) -> TacitError:
    with pytest.raises(TacitError) as refused:
        fetch_pinned(host, port, fingerprint, timeout)
    return refused.value


@pytest.mark.parametrize("host", [HERE, "localhost"])
def test_the_right_authority_is_fetched(host: str, made: Certificates) -> None:
    with served(made.certificate, made.key) as (port, heard):
        assert fetch_pinned(host, port, made.fingerprint) == made.authority_pem
    assert b"".join(heard) == b""


def test_another_authority_is_refused_and_hears_nothing(
    made: Certificates, other: Certificates
) -> None:
    with served(other.certificate, other.key) as (port, heard):
        refused = refusal(port, made.fingerprint)
    assert refused.code == "identity.fingerprint"
    assert refused.facts["found"] == other.fingerprint
    assert refused.facts["expected"] == made.fingerprint
    assert heard == [b""]


def test_showing_the_right_authority_is_not_enough(
    made: Certificates, other: Certificates, tmp_path: Path
) -> None:
    """Anybody can copy the authority's certificate behind one of their own."""
    forged = tmp_path / "forged.pem"
    forged.write_text(other.certificate.read_text() + made.authority_pem)
    with served(forged, other.key) as (port, heard):
        refused = refusal(port, made.fingerprint)
    assert refused.code == "identity.untrusted"
    assert b"".join(heard) == b""


def test_a_name_that_the_certificate_does_not_say_is_refused(made: Certificates) -> None:
    with served(made.certificate, made.key) as (port, _):
        refused = refusal(port, made.fingerprint, OTHER_NAME)
    assert refused.code == "identity.untrusted"
    assert "127.0.0.2" in refused.cause


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    old = ensure(tmp_path, [], time.time() - 400 * 86_400)
    with served(old.certificate, old.key) as (port, _):
        refused = refusal(port, old.fingerprint)
    assert refused.code == "identity.untrusted"
    assert "expired" in refused.cause


def test_nobody_there_is_said_plainly(made: Certificates) -> None:
    with socket.socket() as held:
        held.bind((HERE, 0))
        port = held.getsockname()[1]
        refused = refusal(port, made.fingerprint)
    assert refused.code == "wire.unreachable"
    assert f"{HERE}:{port}" in refused.cause


@pytest.mark.parametrize(
    ("host", "port"), [("", 70_000), ("a\0b", 1), (".", 1), ("x" * 70 + ".org", 1), (HERE, -1)]
)
def test_what_is_no_address_is_said_plainly(host: str, port: int, made: Certificates) -> None:
    assert refusal(port, made.fingerprint, host).code == "wire.unreachable"


def test_an_older_tls_is_refused(made: Certificates) -> None:
    with served(made.certificate, made.key, ssl.TLSVersion.TLSv1_2) as (port, _):
        refused = refusal(port, made.fingerprint)
    assert refused.code == "wire.unreachable"
    assert "TLS 1.3" in refused.cause


def test_a_server_that_speaks_no_tls_is_refused(made: Certificates) -> None:
    class Plain(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(Plain) as port:
        assert refusal(port, made.fingerprint).code == "wire.unreachable"


def test_a_silent_server_does_not_hold_the_client(made: Certificates) -> None:
    with socket.create_server((HERE, 0)) as silent:
        refused = refusal(silent.getsockname()[1], made.fingerprint, timeout=0.05)
    assert "no answer in time" in refused.cause


def test_the_pinned_context_trusts_nobody_else(made: Certificates, other: Certificates) -> None:
    context = client_context(made.authority_pem)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    with (
        served(other.certificate, other.key) as (port, _),
        socket.create_connection((HERE, port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=HERE)


def test_without_a_pin_the_systems_authorities_are_trusted(made: Certificates) -> None:
    context = client_context(None)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    with (
        served(made.certificate, made.key) as (port, _),
        socket.create_connection((HERE, port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=HERE)
