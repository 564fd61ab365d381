"""What a handler gets, and what it may answer beside a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.store.blobs import Source
from tacit.deploy.store.members import Member
from tacit.deploy.wire.messages import Message, Role

NOBODY = Member("", "nobody", Role.AUDITOR, b"", 0.0)
"""Who asks on a public route."""


@final
@dataclass(frozen=True)
class Call:
    """One admitted request: `path`, `query` and `body` are the messages that the route names.

    `stream` gives the body's pieces where the route takes bytes; `digest` is the SHA-256 that was
    signed for them, `headers` are the request's.
    """

    coordinator: Coordinator
    member: Member
    path: Any = None
    query: Any = None
    body: Any = None
    stream: AsyncIterator[bytes] | None = None
    digest: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Raw:
    """Bytes of some type."""

    content: bytes
    kind: str
    status: int = 200


@final
@dataclass(frozen=True)
class File:
    """A file, or its bytes; `span` of it (first byte, end) where the request asked for a range."""

    source: Source
    size: int
    span: tuple[int, int] | None = None


Answer = Message | Raw | File


def malformed(problem: str) -> TacitError:
    """The error of a request that can be read and means nothing."""
    return TacitError("deploy.meaning", problem=problem)
