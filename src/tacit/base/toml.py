"""TOML text <-> plain data, with errors that name the file and the line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import tomli_w

from tacit.base.errors import TacitError
from tacit.base.toml_lines import line_of

T = TypeVar("T")


def dumps(plain: dict[str, Any]) -> str:
    """TOML for plain data; lists of tables become [[tables]]."""
    return tomli_w.dumps(plain)


def loads(text: str, construct: Callable[[dict[str, Any]], T], file: str) -> T:
    """Parse and construct; an error from either is placed at its line of `file`.

    What `construct` raises is placed if its facts have a `path` (see `tacit.base.plain`).
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise TacitError("description.syntax", file=file, problem=str(wrong)) from wrong
    try:
        return construct(plain)
    except TacitError as wrong:
        if "path" not in wrong.facts:
            raise
        raise _placed(wrong, text, file) from wrong


def _placed(wrong: TacitError, text: str, file: str) -> TacitError:
    """The same error with file and line, of the nearest enclosing thing that is written."""
    path = wrong.facts["path"]
    line = None
    while line is None and path:
        line, path = line_of(text, path), path[:-1]
    where = {"file": file, "line": line or 1}
    at = f"{file}, line {where['line']}"
    if "place" in wrong.facts:
        return wrong.named(place=f"{at} ({wrong.facts['place']})", **where)
    return TacitError(
        "description.value", place=at, cause=wrong.cause, remedy=wrong.remedy, **where
    )
