"""Files that are either the old one or the whole new one, whatever happens while writing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tacit.base.errors import TacitError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) beside `path`, flush it to the disk, then rename it there.

    A full disk, a missing folder or a missing right is `data.cannot-write`; what was at `path`
    before is then untouched and nothing is left beside it.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as failed:
        beside.unlink(missing_ok=True)
        why = failed.strerror or type(failed).__name__
        raise TacitError("data.cannot-write", path=path, why=why) from failed
