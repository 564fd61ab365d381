"""What the catalogue says of one error."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Two sentences with `{placeholders}`: what happened, and what to do."""

    cause: str
    remedy: str
