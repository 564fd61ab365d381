"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError

Piece: TypeAlias = bytes | memoryview
_CHUNK = 1 << 20

WRITING = 4 << 20
"""Bytes after which the system is asked to write what it has."""


def write_pieces(path: Path, pieces: Iterable[Piece], *, durable: bool = True) -> str:
    """Write `pieces` beside `path` and rename them there; returns their SHA-256 in hex.

    `durable`: bytes and name are on the disk when this returns. A full disk is `store.full`,
    another failure `data.cannot-write`; what was at `path` is then untouched and nothing is left
    beside it.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        digest = _written(beside, pieces, durable)
        beside.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as failed:
        raise cannot_write(path, failed) from failed
    finally:
        remove(beside)
    return digest


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; `wire.cannot-read` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as failed:
        raise cannot_read(path, failed) from failed


def read_numbers(path: Path, dtype: str, offset: int, count: int) -> npt.NDArray[Any]:
    """So many numbers of a file, from a byte on; `wire.cannot-read` where they are not there."""
    try:
        found = np.fromfile(path, dtype, count, offset=offset)
    except OSError as failed:
        raise cannot_read(path, failed) from failed
    if found.size != count:
        raise TacitError("wire.cannot-read", path=path, why="it has become shorter")
    return found


def remove(path: Path) -> None:
    """Remove a file, if it and its folder are there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the platform can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(path: Path, failed: OSError) -> TacitError:
    """The error of a failed write."""
    why = failed.strerror or type(failed).__name__
    if failed.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TacitError("store.full", place=path.parent, why=why)
    return TacitError("data.cannot-write", path=path, why=why)


def cannot_read(path: Path, failed: OSError) -> TacitError:
    """The error of a failed read."""
    return TacitError("wire.cannot-read", path=path, why=failed.strerror or type(failed).__name__)


def _written(path: Path, pieces: Iterable[Piece], durable: bool) -> str:
    digest, begun, end = hashlib.sha256(), 0, 0
    with path.open("xb") as file:
        for piece in _chunks(pieces):
            digest.update(piece)
            end += file.write(piece)
            if durable and end - begun >= WRITING:
                begin_writing(file.fileno(), begun, end - begun)
                begun = end
        file.flush()
        if durable:
            os.fsync(file.fileno())
    return digest.hexdigest()


def begin_writing(file: int, start: int, count: int) -> None:
    """Let the system write these bytes to the disk meanwhile, so that a later flush is short.

    Nothing is durable by this, and where the system cannot do it nothing happens.
    """
    if _SYNC_RANGE is not None:
        _SYNC_RANGE(file, start, count, _WRITE)


def _sync_range() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Any = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast("Callable[[int, int, int, int], int] | None", found)


_WRITE = 2
"""SYNC_FILE_RANGE_WRITE."""

_SYNC_RANGE = _sync_range()


def _chunks(pieces: Iterable[Piece]) -> Iterator[memoryview]:
    """Small enough that what is hashed is still in the cache when it is written."""
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), _CHUNK):
            yield view[start : start + _CHUNK]
