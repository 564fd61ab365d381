"""What goes back: messages, files and refusals as ASGI events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, final

from starlette.types import Scope, Send

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.call import Answer, File, Raw
from tacit.deploy.coordinator.offload import Offload
from tacit.deploy.coordinator.refusals import RETRY, problem, status
from tacit.deploy.wire.messages import encode

CHUNK = 1 << 20
JSON = "application/json"
SAFE = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


PATHSEND = "http.response.pathsend"
"""The server reads the file itself, as fast as the peer takes it."""


def open_file(path: Path) -> BinaryIO:
    """A file's bytes."""
    return path.open("rb")


@final
@dataclass(frozen=True)
class Reply:
    """A status, headers, and bytes or a part of a file."""

    status: int
    headers: dict[str, str]
    content: bytes = b""
    file: Path | None = None
    span: tuple[int, int] = field(default=(0, 0))

    async def send(self, scope: Scope, send: Send, offload: Offload) -> int:
        """Answer; gives the bytes of the body."""
        size = len(self.content) if self.file is None else self.span[1] - self.span[0]
        silent = scope["method"] == "HEAD"
        path = None if silent else self.file
        sends = path is not None and PATHSEND in scope.get("extensions", ()) and not self.partial
        file = await offload(partial(open_file, path)) if path else None
        headers = {**SAFE, **self.headers, "content-length": str(size)}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if file is None:
            body = b"" if silent else self.content
            await send({"type": "http.response.body", "body": body})
            return len(body)
        with file:
            if sends:
                await send({"type": PATHSEND, "path": str(path)})
            else:
                await self._pour(file, send, offload)
        return size

    @property
    def partial(self) -> bool:
        """Whether it is a range of a file."""
        return self.status == 206

    async def _pour(self, file: BinaryIO, send: Send, offload: Offload) -> None:
        """The file's part, piece by piece: what the peer does not take is not read."""
        start, end = self.span
        file.seek(start)
        for at in range(start, end, CHUNK):
            piece = await offload(partial(file.read, min(CHUNK, end - at)))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def reply(answer: Answer) -> Reply:
    """A handler's answer."""
    if isinstance(answer, Raw):
        return Reply(answer.status, {"content-type": answer.kind}, answer.content)
    if isinstance(answer, File):
        return _file(answer)
    return Reply(200, {"content-type": JSON}, encode(answer))


def _file(answer: File) -> Reply:
    headers = {"content-type": "application/octet-stream", "accept-ranges": "bytes"}
    status, span = 200, (0, answer.size)
    if answer.span is not None:
        status, span = 206, answer.span
        headers["content-range"] = f"bytes {span[0]}-{span[1] - 1}/{answer.size}"
    if isinstance(answer.source, bytes):
        return Reply(status, headers, answer.source[slice(*span)])
    return Reply(status, headers, file=answer.source, span=span)


def refused(error: TacitError, methods: Iterable[str] = ()) -> Reply:
    """A refusal."""
    code = status(error)
    headers = {"content-type": JSON}
    if code in RETRY:
        headers["retry-after"] = RETRY[code]
    if code == 405:
        headers["allow"] = ", ".join(methods)
    if code == 416:
        headers["content-range"] = f"bytes */{error.facts['size']}"
    return Reply(code, headers, encode(problem(error)))
