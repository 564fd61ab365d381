"""Uploads that may be cut at any byte: their bytes wait in files until they are whole."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tacit.base.errors import TacitError
from tacit.deploy.store import faults, files
from tacit.deploy.wire.files import WRITING, begin_writing

NAME: Final = re.compile(r"[0-9a-f]+(?:[-_.][0-9a-f]+)*\Z")
LONGEST: Final = 200
LIMIT: Final = 64 << 30
RESERVE: Final = 256 << 20
"""Bytes that uploads leave free: the database needs them to note what happened."""


@final
@dataclass
class _Progress:
    """What this process knows of an upload: `digest` covers its first `length` bytes."""

    length: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


def _locks() -> tuple[threading.Lock, ...]:
    # A few for all uploads: a lock for each would have to outlive its upload.
    return tuple(threading.Lock() for _ in range(64))


@final
@dataclass(frozen=True)
class Spool:
    """Uploads in progress, one file each, by name: hexadecimal parts joined by `-`.

    `adopt(path, digest)` keeps a whole, durable file as a blob and `has(digest)` tells whether it
    is there. No upload has more than `limit` bytes, and `reserve` bytes of the disk stay free.
    Threads may work on it; other processes on a spool of their own.
    """

    folder: Path
    adopt: Callable[[Path, str], str]
    has: Callable[[str], bool]
    limit: int = LIMIT
    reserve: int = RESERVE
    free: files.Free = files.free
    _progress: dict[str, _Progress] = field(default_factory=dict)
    _locks: tuple[threading.Lock, ...] = field(default_factory=_locks)
    _known: set[str] = field(default_factory=set)
    _looked: list[bool] = field(default_factory=list)

    def offset(self, name: str) -> int:
        """How many bytes of an upload are here: where the next chunk begins."""
        path = self._path(name)
        with faults.disk(self.folder):
            return _length(path)

    def append(
        self, name: str, offset: int, pieces: Iterable[bytes], size: int | None = None
    ) -> int:
        """Add bytes at the end, which must be `offset`; gives the new end.

        `size`: what the whole upload is declared to have. Pieces that came before one fails stay.
        Errors: store.offset (fact `offset`), store.too-large, store.full, store.upload-name.
        """
        path = self._path(name)
        self._admit(name, offset, size)
        most = min(self.limit, self.limit if size is None else size)
        offset = self._extend(path, offset, b"")
        for piece in pieces:
            if offset + len(piece) > most:
                raise TacitError("store.too-large", name=name, limit=most)
            offset = self._extend(path, offset, piece)
        return offset

    def finish(self, name: str, digest: str, size: int) -> str:
        """Make a whole upload a blob; gives its digest. To finish twice is to finish once.

        Errors: store.offset (bytes are missing; they may follow), store.digest (it is not what was
        declared, and is removed), store.full.
        """
        path = self._path(name)
        with self._lock(name), faults.disk(self.folder):
            length = _length(path)
            if length == 0 and self.has(digest):
                return digest
            if length < size:
                raise TacitError("store.offset", name=name, offset=length)
            if length == 0:  # an upload of nothing may have no file yet
                files.make_folder(path.parent)
                path.touch(mode=0o600)
            if length > size or self._digest(path, length) != digest:
                self._forget(path)
                raise TacitError("store.digest", name=name)
            files.flush(path)
            self.adopt(path, digest)
            self._forget(path)
            return digest

    def discard(self, name: str) -> None:
        """Forget an upload and its bytes."""
        path = self._path(name)
        with self._lock(name), faults.disk(self.folder):
            self._forget(path)

    def beginning(self, prefix: str) -> tuple[str, ...]:
        """The uploads in progress whose names begin so; only the first time looks at the disk."""
        if not self._looked:
            self._known.update(self.names())
            self._looked.append(True)
        return tuple(name for name in tuple(self._known) if name.startswith(prefix))

    def names(self) -> tuple[str, ...]:
        """The uploads in progress."""
        if not self.folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in self.folder.iterdir() if NAME.match(path.name)))

    def sweep(self, before: float) -> int:
        """Remove uploads whose last byte came before this time (seconds); gives how many."""
        old = [name for name in self.names() if _touched(self.folder / name) < before]
        for name in old:
            self.discard(name)
        return len(old)

    def _path(self, name: str) -> Path:
        if len(name) > LONGEST or not NAME.match(name):
            raise TacitError("store.upload-name")
        return self.folder / name

    def _admit(self, name: str, offset: int, size: int | None) -> None:
        """Refuse before the first byte what cannot end well."""
        if size is None:
            return
        if size > self.limit:
            raise TacitError("store.too-large", name=name, limit=self.limit)
        with faults.disk(self.folder):
            files.make_folder(self.folder)
            left = self.free(self.folder)
        if left < size - offset + self.reserve:
            why = f"{left} bytes are free, {size - offset} and a reserve of {self.reserve} needed"
            raise TacitError("store.full", place=self.folder, why=why)

    def _lock(self, name: str) -> threading.Lock:
        return self._locks[hash(name) % len(self._locks)]

    def _forget(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._progress.pop(path.name, None)
        self._known.discard(path.name)

    def _extend(self, path: Path, offset: int, piece: bytes) -> int:
        """Write one piece, unless the upload went on elsewhere: a cut connection may linger."""
        with self._lock(path.name), faults.disk(self.folder):
            files.make_folder(path.parent)
            if offset == 0:
                self._known.add(path.name)
            _write(path, offset, piece)
            progress = self._progress.setdefault(path.name, _Progress())
            if progress.length == offset:
                progress.digest.update(piece)
                progress.length += len(piece)
        return offset + len(piece)

    def _digest(self, path: Path, length: int) -> str:
        """Of the bytes on the disk: known if all of them passed here, else read."""
        progress = self._progress.get(path.name)
        if progress is not None and progress.length == length:
            return progress.digest.hexdigest()
        return files.digest_of(path)


def _write(path: Path, offset: int, piece: bytes) -> None:
    begins = os.O_CREAT if offset == 0 else 0  # of what begins elsewhere no file is made
    try:
        file = os.open(path, os.O_WRONLY | begins, 0o600)
    except FileNotFoundError as gone:
        raise TacitError("store.offset", name=path.name, offset=0) from gone
    try:
        length = os.fstat(file).st_size
        if length != offset:
            raise TacitError("store.offset", name=path.name, offset=length)
        os.lseek(file, offset, os.SEEK_SET)
        _write_or_undo(file, offset, piece)
        before = offset // WRITING * WRITING
        if offset + len(piece) >= before + WRITING:
            begin_writing(file, before, WRITING)
    finally:
        os.close(file)


def _write_or_undo(file: int, offset: int, piece: bytes) -> None:
    try:
        files.write_all(file, piece)
    except OSError:
        os.ftruncate(file, offset)
        raise


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # finished meanwhile
        return float("inf")
