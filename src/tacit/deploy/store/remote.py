"""Blobs in any store that fsspec reaches: s3://, gs://, abfs://, sftp:// and others."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]  # ships no types

from tacit.base.errors import TacitError
from tacit.deploy.store import faults, files


@final
@dataclass(frozen=True)
class Remote:
    """A file system of fsspec, the path of the blobs in it, and its address for people."""

    system: Any
    root: str
    place: str

    def put(self, path: Path, digest: str) -> None:
        """Store a file under its digest, whole or not at all."""
        if self.has(digest):
            return
        beside = f"{self._path(digest)}.{secrets.token_hex(4)}"
        with self._faults():
            self.system.put_file(str(path), beside)
            self.system.mv(beside, self._path(digest))

    def fetch(self, digest: str, path: Path) -> None:
        """Copy a blob to a file. Errors: store.blob-missing."""
        with self._faults():
            try:
                self.system.get_file(self._path(digest), str(path))
            except FileNotFoundError:
                raise TacitError("store.blob-missing", digest=digest, place=self.place) from None

    def has(self, digest: str) -> bool:
        """Whether the blob is stored."""
        with self._faults():
            self.system.invalidate_cache()
            return bool(self.system.exists(self._path(digest)))

    def delete(self, digest: str) -> None:
        """Remove a blob, if it is there."""
        if self.has(digest):
            with self._faults():
                self.system.rm_file(self._path(digest))

    def digests(self) -> Iterator[str]:
        """All blobs that are stored."""
        with self._faults():
            self.system.invalidate_cache()
            found = self.system.find(self.root)
        names = (str(path).rpartition("/")[2] for path in found)
        return (name for name in names if files.DIGEST.match(name))

    def _path(self, digest: str) -> str:
        return f"{self.root}/{digest[:2]}/{digest}"

    def _faults(self) -> AbstractContextManager[None]:
        return _faults(self.place)


@contextmanager
def _faults(place: str) -> Iterator[None]:
    try:
        yield
    except TacitError:
        raise
    except Exception as failed:  # each file system raises what its own driver raises
        if isinstance(failed, OSError) and failed.errno in faults.NO_SPACE:
            raise TacitError("store.full", place=place, why=failed.strerror) from failed
        raise TacitError("store.blobs-unreachable", place=place, why=_why(failed)) from failed


def connect(url: str) -> Remote:
    """The blobs under a URL. Errors: store.blobs-url, store.blobs-unreachable."""
    parts = urlsplit(url)
    # Without a user and password that the URL may hold.
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    with _faults(place):
        try:
            system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, TypeError) as failed:
            raise TacitError("store.blobs-url", place=place, why=_why(failed)) from failed
    return Remote(system, str(root).rstrip("/"), place)


def _why(failed: Exception) -> str:
    lines = str(failed).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(failed).__name__
