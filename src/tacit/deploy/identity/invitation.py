"""Invitations: one line of text that an operator hands to a new member."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Annotated, final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tacit.base.errors import TacitError
from tacit.deploy.wire.messages import Name, Role

PREFIX = "tacit-invite-"
_LONGEST = 8000
_SUM = 4
_TEXT = re.compile(rf"{PREFIX}([A-Za-z0-9_-]+)")


@final
@dataclass(frozen=True)
class Invitation:
    """Where the coordinator is, how to know it, and the single-use code that makes a member.

    `fingerprint` is the authority's, or empty where the coordinator has a certificate that the
    system trusts anyway. `name` is the member's, or None where it may choose. The code is a secret
    and never shown by repr.
    """

    url: Annotated[str, Meta(max_length=500)]
    fingerprint: Annotated[str, Meta(pattern=r"^(SHA256:[A-Za-z0-9+/]{43})?\Z")]
    code: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,100}\Z")] = field(repr=False)
    role: Role
    name: Name | None = None

    def text(self) -> str:
        """The text to hand over: base64url of JSON and four bytes of its SHA-256."""
        body = msgspec.json.encode(self)
        packed = base64.urlsafe_b64encode(body + _checksum(body))
        return PREFIX + packed.decode("ascii").rstrip("=")


def parse(text: str) -> Invitation:
    """The invitation of a text, which may be broken into lines; `invitation.malformed`."""
    if len(text) > _LONGEST:
        raise _malformed("it is too long")
    found = _TEXT.fullmatch("".join(text.split()))
    if found is None:
        raise _malformed(f"it is not {PREFIX} followed by letters, digits, - and _")
    raw = _unpacked(found[1])
    body, checksum = raw[:-_SUM], raw[-_SUM:]
    if checksum != _checksum(body):
        raise _malformed("its checksum does not fit, so a part is missing or mistyped")
    try:
        invitation: Invitation = msgspec.json.decode(body, type=Invitation)
    except (ValueError, RecursionError):
        raise _malformed("another release of tacit made it, or none") from None
    if not _is_address(invitation.url):
        raise _malformed("its address is not of the form https://host:port")
    return invitation


def _unpacked(packed: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    except binascii.Error:
        raise _malformed("a part is missing") from None
    if base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=") != packed:
        raise _malformed("its last letter is mistyped")
    return raw


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:
        return False


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_SUM]


def _malformed(why: str) -> TacitError:
    return TacitError("invitation.malformed", why=why)
