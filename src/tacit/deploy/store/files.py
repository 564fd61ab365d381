"""Files that are durable and whole before they have their name."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

CHUNK: Final = 1 << 20

DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")

Free: TypeAlias = Callable[[Path], int]
"""Bytes that are free on the disk of a folder."""


def free(folder: Path) -> int:
    """Bytes that this user may still write on the folder's disk."""
    return shutil.disk_usage(folder).free


def chunks(path: Path) -> Iterable[bytes]:
    """A file's bytes, 1 MiB at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file's bytes, or a folder's names, outlive a power cut."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, with those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush(folder.parent)


def move(source: Path, target: Path) -> bool:
    """Give a durable file its final name, durably; False where that is another disk."""
    make_folder(target.parent)
    try:
        source.replace(target)
    except OSError as failed:
        if failed.errno == errno.EXDEV:
            return False
        raise
    flush(target.parent)
    return True


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a new file durably, or leave nothing; gives its SHA-256 in hex."""
    digest = hashlib.sha256()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for piece in pieces:
            write_all(file, piece)
            digest.update(piece)
        os.fsync(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    return digest.hexdigest()


def write_all(file: int, piece: bytes) -> None:
    """Write all of it where the file stands, however few bytes the system takes at a time."""
    view = memoryview(piece)
    while view:
        view = view[os.write(file, view) :]
