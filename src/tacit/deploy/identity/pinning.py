"""How a client knows its coordinator: by the fingerprint of the authority, and no other way."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tacit.base.errors import TacitError
from tacit.deploy.wire.files import cannot_read

_DER = 2  # of CPython's _ssl.Certificate.public_bytes


def fingerprint(pem: str | bytes) -> str:
    """Of a PEM certificate's DER, as ssh writes it: "SHA256:" and unpadded base64."""
    raw = pem.encode() if isinstance(pem, str) else pem
    return _fingerprint(x509.load_pem_x509_certificate(raw).public_bytes(Encoding.DER))


def load_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; `identity.certificate-file`."""
    return load_chain(path)[0]


def load_chain(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file; `identity.certificate-file`."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as wrong:
        why = "it is not a certificate in PEM"
        raise TacitError("identity.certificate-file", path=path, why=why) from wrong
    except OSError as failed:
        raise cannot_read(path, failed) from failed


def client_context(authority_pem: str | None) -> ssl.SSLContext:
    """TLS 1.3 that trusts only this authority; None: those that the system trusts."""
    if authority_pem is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=authority_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def fetch_pinned(host: str, port: int, expected: str, timeout: float = 10.0) -> str:
    """The authority (PEM) behind an address, if it has the expected fingerprint.

    Two handshakes and nothing else: the first trusts nobody and only reads the certificates; the
    second trusts only the authority so found, and shows that the server holds a key that it
    certified for this host. Errors: `identity.fingerprint`, `identity.untrusted`,
    `wire.unreachable`.
    """
    chain = _handshake(host, port, _trusting_nobody(), timeout)
    found = [_fingerprint(raw) for raw in chain]
    if expected not in found:
        raise TacitError(
            "identity.fingerprint", host=host, port=port, found=found[-1], expected=expected
        )
    pem = ssl.DER_cert_to_PEM_cert(chain[found.index(expected)])
    _handshake(host, port, client_context(pem), timeout)
    return pem


def _trusting_nobody() -> ssl.SSLContext:
    """To look at certificates: over such a connection nothing is ever sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _handshake(host: str, port: int, context: ssl.SSLContext, timeout: float) -> list[bytes]:
    """Connect and hang up; the server's certificates in DER, its own first."""
    try:
        with (
            socket.create_connection((host, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return _chain(secure)
    except ssl.SSLCertVerificationError as wrong:
        raise TacitError(
            "identity.untrusted", host=host, port=port, why=wrong.verify_message
        ) from wrong
    except (OSError, ValueError, OverflowError) as failed:
        raise TacitError("wire.unreachable", host=host, port=port, why=_why(failed)) from failed


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    """What the server sent, which Python gives away since 3.13 and its inner object before."""
    held: Any = secure
    if sys.version_info >= (3, 13):
        return list(held.get_unverified_chain())
    return [cert.public_bytes(_DER) for cert in held._sslobj.get_unverified_chain()]  # noqa: SLF001


def _why(failed: Exception) -> str:
    match failed:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"it does not speak TLS 1.3 ({failed.reason or failed})"
        case OSError():
            return failed.strerror or type(failed).__name__
    return "that is no host and port"


def _fingerprint(raw: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"
