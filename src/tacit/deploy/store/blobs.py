"""Models and answers as files named by their SHA-256: in a folder, or in any store of fsspec."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import final

from tacit.base.errors import TacitError
from tacit.deploy.store import faults, files
from tacit.deploy.store.remote import Remote, connect
from tacit.deploy.store.spool import LIMIT, RESERVE, Spool


@final
class Blobs:
    """Content-addressed bytes.

    `place`: a folder, or a URL of fsspec (`s3://bucket/prefix`); then `cache` is the folder that
    fetched blobs stay in, by default "cache" beside the spool. `spool`: the folder of uploads in
    progress, best on the disk of the blobs, so that a finished one is renamed, not copied. `limit`
    bounds an upload's bytes; `reserve` bytes of the disk stay free of uploads.
    """

    def __init__(
        self,
        place: str | Path,
        spool: Path,
        *,
        cache: Path | None = None,
        limit: int = LIMIT,
        reserve: int = RESERVE,
        free: files.Free = files.free,
    ) -> None:
        folder, self._remote = _where(place, cache or spool.with_name("cache"))
        self.folder = folder
        self.spool = Spool(spool, self.adopt, self.has, limit, reserve, free)

    def put(self, source: bytes | Path) -> str:
        """Keep bytes, or a copy of a file, durably; gives the SHA-256. To put twice is once.

        Errors: store.full, store.disk, store.blobs-unreachable.
        """
        with faults.disk(self.folder):
            beside = self.beside()
            pieces = iter((source,)) if isinstance(source, bytes) else files.chunks(source)
            return self._named(beside, files.write(beside, pieces))

    def adopt(self, path: Path, digest: str) -> str:
        """Keep a whole, durable file of this SHA-256 by moving it, unread; gives the digest."""
        with faults.disk(self.folder):
            return self._named(path, digest)

    def beside(self) -> Path:
        """A fresh name on the disk of the blobs, to write a file that is adopted afterwards."""
        with faults.disk(self.folder):
            files.make_folder(self.folder / "new")
        return self.folder / "new" / secrets.token_hex(16)

    def local(self, digest: str) -> Path:
        """The file of a blob on this machine, fetched and verified if it is elsewhere.

        Errors: store.blob-missing, store.blob-damaged, store.blobs-unreachable, store.full.
        """
        path = self._path(digest)
        if not path.is_file():
            self._fetch(digest)
        return path

    def has(self, digest: str) -> bool:
        """Whether the blob is stored."""
        if not files.DIGEST.match(digest):
            return False
        return self._remote.has(digest) if self._remote else self._path(digest).is_file()

    def delete(self, digest: str) -> None:
        """Remove a blob, if it is there."""
        path = self._path(digest)
        if self._remote:
            self._remote.delete(digest)
        with faults.disk(self.folder):
            path.unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All blobs that are stored, in no order."""
        if self._remote:
            return self._remote.digests()
        return (path.name for path in self.folder.glob("??/*") if files.DIGEST.match(path.name))

    def sweep(self, before: float) -> int:
        """Remove files that a crash left half written before this time; gives how many."""
        with faults.disk(self.folder):
            old = [p for p in (self.folder / "new").glob("*") if p.stat().st_mtime < before]
            for path in old:
                path.unlink(missing_ok=True)
        return len(old)

    def _path(self, digest: str) -> Path:
        if not files.DIGEST.match(digest):
            raise TacitError("store.blob-missing", digest=digest[:64], place=self.folder)
        return self.folder / digest[:2] / digest

    def _named(self, path: Path, digest: str) -> str:
        """Give a durable file its final name, where it is not there already."""
        if not self._same(path, digest) and not files.move(path, self._path(digest)):
            beside = self.beside()
            files.write(beside, files.chunks(path))
            files.move(beside, self._path(digest))
        path.unlink(missing_ok=True)
        if self._remote:
            self._remote.put(self._path(digest), digest)
        return digest

    def _same(self, path: Path, digest: str) -> bool:
        """Whether the blob is there, as long as this file: a damaged one is replaced."""
        kept = self._path(digest)
        return kept.is_file() and kept.stat().st_size == path.stat().st_size

    def _fetch(self, digest: str) -> None:
        if self._remote is None:
            raise TacitError("store.blob-missing", digest=digest, place=self.folder)
        beside = self.beside()
        try:
            self._remote.fetch(digest, beside)
            with faults.disk(self.folder):
                if files.digest_of(beside) != digest:
                    raise TacitError("store.blob-damaged", digest=digest, place=self._remote.place)
                files.flush(beside)
                files.move(beside, self._path(digest))
        finally:
            beside.unlink(missing_ok=True)


def _where(place: str | Path, cache: Path) -> tuple[Path, Remote | None]:
    """The folder on this machine, and what is behind it."""
    if isinstance(place, Path) or "://" not in place:
        return Path(place), None
    if place.startswith("file://"):
        return Path(place.removeprefix("file://")), None
    return cache, connect(place)
