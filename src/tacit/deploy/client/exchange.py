"""Typed calls, resumable downloads and uploads over a transport."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tacit.base.errors import TacitError
from tacit.deploy.client.transport import Into, Part, Refused, Request, Transport
from tacit.deploy.store import faults
from tacit.deploy.wire.files import sync_folder
from tacit.deploy.wire.messages import Message, Offset, encode
from tacit.deploy.wire.packs import file_digest

M = TypeVar("M", bound=Message)

CHUNK: Final = 8 << 20
"""Bytes of one piece of an upload; each is signed."""

_STUCK: Final = 6
"""Pieces in a row that arrive not at all before an upload is given up for now."""


async def call(
    transport: Transport,
    method: str,
    path: str,
    gives: type[M],
    body: Message | None = None,
    *,
    query: str = "",
    wait: float = 0.0,
) -> M:
    """Send a message and read one; raises `Refused`, `client.unreachable`, `client.odd-reply`."""
    content = b"" if body is None else encode(body)
    reply = await transport.send(Request(method, path, query, content, wait=wait))
    try:
        return msgspec.json.decode(reply.body, type=gives)
    except msgspec.DecodeError as wrong:
        raise TacitError("client.odd-reply", problem=str(wrong)) from wrong


async def download(transport: Transport, digest: str, size: int, place: Path) -> Path:
    """A blob as the file `place`: what is there is not fetched again, and the digest must agree."""
    if place.exists() and place.stat().st_size == size and file_digest(place) == digest:
        return place
    part = place.with_name(f"{place.name}.part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    with faults.disk(part):
        part.touch(mode=0o600)
    into = Into(part, size)
    while (there := into.there) < size:
        await transport.send(Request("GET", f"/v1/blobs/{digest}", into=into))
        if into.there <= there:
            raise TacitError("client.odd-reply", problem=f"blob {digest[:12]} is cut short")
    if file_digest(part) != digest:
        part.unlink()
        problem = f"blob {digest[:12]} has other bytes than its digest says"
        raise TacitError("client.odd-reply", problem=problem)
    part.replace(place)
    sync_folder(place.parent)
    return place


async def upload(transport: Transport, path: str, file: Path, digest: str, size: int) -> None:
    """A file, from wherever the coordinator has it up to; returns when it is counted."""
    named = f"digest={digest}&size={size}"
    there = Offset(0) if size <= CHUNK else await call(transport, "GET", path, Offset, query=named)
    stuck = 0
    while not there.done:
        if there.offset > size:
            raise TacitError("client.odd-reply", problem="it has more of a file than there is")
        part = Part(file, there.offset, min(CHUNK, size - there.offset))
        sent = Request("PUT", path, f"{named}&offset={there.offset}", part, once=True)
        before, there = there, await _put(transport, sent, path, named)
        stuck = 0 if there.offset > before.offset else stuck + 1
        if not there.done and stuck == _STUCK:
            raise TacitError("client.odd-reply", problem="an upload does not get on")


async def _put(transport: Transport, sent: Request, path: str, named: str) -> Offset:
    """One piece; where it was cut or another one is expected, the offset from which to go on.

    A piece that was cut is not repeated as it was: the coordinator may have its first part, and
    its refusal of the whole might be cut again, every time.
    """
    try:
        reply = await transport.send(sent)
        return msgspec.json.decode(reply.body, type=Offset)
    except Refused as refused:
        if refused.code != "store.offset":
            raise
        return await call(transport, "GET", path, Offset, query=named)
    except TacitError as lost:
        if lost.code != "client.unreachable":
            raise
        return await call(transport, "GET", path, Offset, query=named)
    except msgspec.DecodeError as wrong:
        raise TacitError("client.odd-reply", problem=str(wrong)) from wrong
