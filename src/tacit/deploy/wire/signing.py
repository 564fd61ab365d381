"""Signed requests: HTTP Message Signatures (RFC 9421) over Content-Digest (RFC 9530).

A request carries exactly one signature, labelled `tacit`, by Ed25519, over "@method", "@path",
"@query" and "content-digest" with the parameters created, nonce, keyid and alg, in this order. The
order is fixed so that there is one way to write a request; anything else is refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from tacit.base.errors import TacitError
from tacit.deploy.identity.keys import Identity, verified
from tacit.deploy.wire.replays import Replays

__all__ = ["Claimed", "Head", "Replays", "check", "parse", "signed"]

_COMPONENTS = '("@method" "@path" "@query" "content-digest")'
_INPUT = re.compile(
    rf"tacit={re.escape(_COMPONENTS)}"
    r";created=(0|[1-9][0-9]{0,14})"
    r';nonce="([A-Za-z0-9_-]{1,64})"'
    r';keyid="([0-9a-f]{32})"'
    r';alg="ed25519"'
)
_SIGNATURE = re.compile(r"tacit=:([A-Za-z0-9+/]{86}==):")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_METHOD = re.compile(r"[A-Z]{1,20}")
_PATH = re.compile(r"/[!-~]*")
_QUERY = re.compile(r"[!-~]*")
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@final
@dataclass(frozen=True)
class Head:
    """What a signature covers: the path and query as on the wire (still percent-encoded).

    `query` has no leading question mark; `digest` is the SHA-256 of the body, 32 bytes.
    """

    method: str
    path: str
    query: str
    digest: bytes


@final
@dataclass(frozen=True)
class Claimed:
    """What a request's headers claim; true once `check` has passed."""

    keyid: str
    created: int
    nonce: str
    digest: bytes
    signature: bytes = field(repr=False)


def signed(head: Head, identity: Identity, created: int, nonce: str) -> dict[str, str]:
    """The three headers of a request, signed at `created` (whole seconds since 1970)."""
    if _NONCE.fullmatch(nonce) is None or created < 0:
        raise ValueError("a nonce has 1 to 64 letters, digits, - or _; created is not negative")
    parameters = _parameters(identity.id, created, nonce)
    signature = identity.sign(_base(head, parameters))
    return {
        "Content-Digest": _content_digest(head.digest),
        "Signature-Input": f"tacit={parameters}",
        "Signature": f"tacit=:{_base64(signature)}:",
    }


def parse(headers: Mapping[str, str]) -> Claimed:
    """What the headers claim; `request.unsigned` or `request.malformed`."""
    digest = _bytes("Content-Digest", _DIGEST, _single(headers, "Content-Digest"))
    found = _INPUT.fullmatch(_single(headers, "Signature-Input"))
    if found is None:
        raise _malformed("Signature-Input header", "it is not the one that tacit writes")
    signature = _bytes("Signature", _SIGNATURE, _single(headers, "Signature"))
    created, nonce, keyid = found.groups()
    return Claimed(keyid, int(created), nonce, digest, signature)


def check(head: Head, claimed: Claimed, public_key: bytes) -> None:
    """Refuse what the key did not sign: `request.signature`, `request.digest`.

    `head.digest` is the body's own digest, or the claimed one while the body is not read yet.
    """
    if head.digest != claimed.digest:
        raise TacitError("request.digest")
    message = _base(head, _parameters(claimed.keyid, claimed.created, claimed.nonce))
    if not verified(public_key, claimed.signature, message):
        raise TacitError("request.signature", keyid=claimed.keyid)


def _base(head: Head, parameters: str) -> bytes:
    """The signature base (RFC 9421, section 2.5)."""
    for part, rule in (("method", _METHOD), ("path", _PATH), ("query", _QUERY)):
        if rule.fullmatch(getattr(head, part)) is None:
            raise _malformed(part, "it has characters that must be percent-encoded")
    lines = (
        f'"@method": {head.method}',
        f'"@path": {head.path}',
        f'"@query": ?{head.query}',
        f'"content-digest": {_content_digest(head.digest)}',
        f'"@signature-params": {parameters}',
    )
    return "\n".join(lines).encode("ascii")


def _parameters(keyid: str, created: int, nonce: str) -> str:
    return f'{_COMPONENTS};created={created};nonce="{nonce}";keyid="{keyid}";alg="ed25519"'


def _content_digest(digest: bytes) -> str:
    return f"sha-256=:{_base64(digest)}:"


def _single(headers: Mapping[str, str], name: str) -> str:
    """The only value of a header; several are not joined, as other readers may take either."""
    values = [value for key, value in headers.items() if key.lower() == name.lower()]
    if not values:
        raise TacitError("request.unsigned", header=name)
    if len(values) > 1:
        raise _malformed(f"{name} header", "it is there more than once")
    return values[0]


def _bytes(name: str, rule: re.Pattern[str], value: str) -> bytes:
    found = rule.fullmatch(value)
    raw = base64.b64decode(found[1]) if found else b""
    if found is None or _base64(raw) != found[1]:
        raise _malformed(f"{name} header", "it is not the one that tacit writes")
    return raw


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _malformed(part: str, why: str) -> TacitError:
    return TacitError("request.malformed", part=part, why=why)
