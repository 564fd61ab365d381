"""Where the files of a public data set come from: the folder TACIT_DATA, the cache, the network.

A file under TACIT_DATA is the user's own and is taken as it is. A file from the network is kept in
the cache only if its SHA-256 is the published one, and is checked again whenever it is used.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import final
from urllib.error import HTTPError

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError

TIMEOUT = 30
"""Seconds without an answer after which a host counts as not reachable."""


@final
@dataclass(frozen=True)
class Remote:
    """A published file: where it is, its length in bytes, and its SHA-256 (hex)."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def given(data_set: str, *names: str) -> Path | None:
    """The first of these files or folders that is in TACIT_DATA/`data_set`, if any is."""
    root = os.environ.get("TACIT_DATA")
    paths = [Path(root) / data_set / name for name in names] if root else []
    return next((path for path in paths if path.exists()), None)


def obtain(data_set: str, remote: Remote) -> Path:
    """The file from TACIT_DATA (also without its `.gz`), else from the cache, else downloaded.

    Errors: `data.public-missing` when it is nowhere and the host cannot be reached;
    `data.public-truncated`, `data.public-digest` for a file that is not the published one.
    """
    own = given(data_set, remote.name, remote.name.removesuffix(".gz"))
    if own is not None:
        return own
    cached = cache() / data_set / remote.name
    if cached.is_file():
        _check(cached.read_bytes(), remote, str(cached))
        return cached
    content = _download(data_set, remote)
    _make_folder(cached.parent)
    write_atomically(cached, content)
    return cached


def cache() -> Path:
    """The folder for downloads: $XDG_CACHE_HOME/tacit, usually ~/.cache/tacit."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tacit"


def own_folder(data_set: str) -> str:
    """Where the user's own files are looked for, in words."""
    root = os.environ.get("TACIT_DATA")
    return str(Path(root) / data_set) if root else "TACIT_DATA, which is not set,"


def _download(data_set: str, remote: Remote) -> bytes:
    try:
        # The addresses are constants of tacit (https), and the content has a published digest.
        with urllib.request.urlopen(remote.url, timeout=TIMEOUT) as answer:  # noqa: S310
            content: bytes = answer.read(remote.size + 1)
    except (OSError, HTTPException) as failed:
        if isinstance(failed, HTTPError):
            failed.close()
        raise TacitError(
            "data.public-missing",
            name=data_set,
            file=remote.name,
            looked=f"{own_folder(data_set)} and {cache() / data_set}",
            url=remote.url,
            why=str(failed) or type(failed).__name__,
        ) from failed
    if len(content) < remote.size:
        raise TacitError(
            "data.public-truncated", url=remote.url, found=len(content), expected=remote.size
        )
    _check(content, remote, remote.url)
    return content


def _check(content: bytes, remote: Remote, place: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != remote.sha256:
        raise TacitError(
            "data.public-digest", place=place, found=found[:16], expected=remote.sha256[:16]
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        why = failed.strerror or type(failed).__name__
        raise TacitError("data.cannot-write", path=folder, why=why) from failed
