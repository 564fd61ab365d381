"""Models and answers by their SHA-256: files in a folder or in any store of fsspec; small: rows."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, final

from sqlalchemy import Connection

from tacit.base.errors import TacitError
from tacit.deploy.store import faults, files
from tacit.deploy.store.database import Database
from tacit.deploy.store.remote import Remote, connect
from tacit.deploy.store.rows import SMALL, Rows
from tacit.deploy.store.spool import LIMIT, RESERVE, Spool

Source: TypeAlias = Path | bytes
"""Where the bytes of a blob are: in a file of this machine, or here."""


@final
class Blobs:
    """Content-addressed bytes.

    `place`: a folder, or a URL of fsspec (`s3://bucket/prefix`); then `cache` is the folder that
    fetched blobs stay in, by default "cache" beside the spool. `spool`: the folder of uploads in
    progress, best on the disk of the blobs, so that a finished one is renamed, not copied. `limit`
    bounds an upload's bytes; `reserve` bytes of the disk stay free of uploads. With a `database`
    what has at most `small` bytes may be kept there as a row.
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
        database: Database | None = None,
    ) -> None:
        self._rows = Rows(database) if database is not None else None
        self.small = SMALL if database is not None else 0
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

    def write(self, connection: Connection, contents: Mapping[str, bytes]) -> None:
        """Keep small blobs, by digest, with whatever else a transaction of the database writes."""
        if contents:
            assert self._rows is not None, "small blobs need a database"
            self._rows.add(connection, contents)

    def source(self, digest: str) -> Source:
        """The bytes of a small blob, or the file of another one. Errors: as `local`."""
        return self.sources((digest,))[0]

    def sources(self, digests: Iterable[str]) -> tuple[Source, ...]:
        """As `source`, for several."""
        wanted = tuple(digests)
        small: dict[str, bytes] = {}
        if self._rows is not None:
            small = self._rows.get(one for one in wanted if not self._path(one).is_file())
        return tuple(small[one] if one in small else self.local(one) for one in wanted)

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
        if self._path(digest).is_file() and not self._remote:
            return True
        if self._rows is not None and self._rows.known((digest,)):
            return True
        return self._remote is not None and self._remote.has(digest)

    def delete(self, *digests: str) -> None:
        """Remove blobs that are there."""
        known: set[str] = set()
        if self._rows is not None:
            known = self._rows.known(digests)
            self._rows.remove(known)
        for digest in digests:
            if digest not in known or self._path(digest).is_file():
                self._delete(digest)

    def _delete(self, digest: str) -> None:
        path = self._path(digest)
        if self._remote:
            self._remote.delete(digest)
        with faults.disk(self.folder):
            path.unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All blobs that are stored, in no order."""
        if self._rows is not None:
            yield from self._rows.digests()
        if self._remote:
            yield from self._remote.digests()
        else:
            names = (path.name for path in self.folder.glob("??/*"))
            yield from (name for name in names if files.DIGEST.match(name))

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
