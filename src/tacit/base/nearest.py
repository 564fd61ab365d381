"""Did you mean ...: the names nearest to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The sentence `Did you mean 'age'? ` with a space behind it, or nothing if none is near.

    >>> did_you_mean("agee", ["age", "sex"])
    "Did you mean 'age'? "
    """
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""
