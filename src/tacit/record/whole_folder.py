"""A folder that is there as a whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tacit.base.errors import TacitError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to write into; flushed and renamed when the block ends.

    If anything fails, the hidden folder is removed and `folder` does not exist. Raises
    `run.folder-exists`, `run.no-space` (full disk, quota, file size limit) or `run.cannot-write`.
    """
    refuse_taken(folder)
    target = Path(os.path.abspath(folder))  # noqa: PTH100  # `resolve` would follow a link
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    made = [above for above in target.parents if not above.exists()]
    try:
        beside.mkdir(parents=True)
        yield beside
        _flush(beside)
        beside.rename(target)
    except OSError as failed:
        raise refusal(folder, failed) from failed
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if not target.exists():
            _remove_empty(made)


def refuse_taken(folder: Path) -> None:
    """Nothing that exists is ever written over."""
    if os.path.lexists(folder):
        raise TacitError("run.folder-exists", folder=folder)


def refuse_unwritable(folder: Path) -> None:
    """Refuse a place that cannot be written before hours of work are spent on what goes there."""
    refuse_taken(folder)
    above = next(parent for parent in Path(os.path.abspath(folder)).parents if parent.exists())  # noqa: PTH100  # as above
    trial = above / f".tacit.{secrets.token_hex(4)}.tmp"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as failed:
        raise refusal(folder, failed) from failed


def refusal(folder: Path, failed: OSError) -> TacitError:
    """What stands in the way of writing `folder`, with its remedy."""
    why = failed.strerror or type(failed).__name__
    if failed.errno in _TAKEN:
        return TacitError("run.folder-exists", folder=folder)
    code = "run.no-space" if failed.errno in _FULL else "run.cannot-write"
    return TacitError(code, folder=folder, why=why[:1].lower() + why[1:])


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first, up to one into which somebody else has put something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _flush(folder: Path) -> None:
    """Wait for the disk: some file systems report a full disk or a quota only then."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
