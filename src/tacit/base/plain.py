"""Frozen dataclasses <-> plain data (dict, list, str, numbers), strictly and losslessly."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec
import numpy as np

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean

Path = tuple[str | int, ...]
T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Plain data for a dataclass (fields that are None are left out), tuple, mapping or scalar.

    A class that is one of several kinds says so in a class variable `kind`, which comes first.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls: Any = type(value)
        tag = {"kind": cls.kind} if "kind" in cls.__dict__ else {}
        hints = _hints(cls)
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr)
        held = {name: _as_hinted(hints[name], one) for name, one in pairs if one is not None}
        return tag | {name: to_plain(one) for name, one in held.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): to_plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(held) for held in value]
    return value


def from_plain(cls: type[T], plain: Any, path: Path = ()) -> T:
    """Build a dataclass from plain data; unknown, missing and mistyped fields are refused."""
    return construct(cls, plain, {}, path)


def construct(cls: type[T], plain: Any, made: Mapping[str, Any], path: Path = ()) -> T:
    """As `from_plain`, for a class of which some fields are `made` already."""
    if not isinstance(plain, Mapping):
        raise TacitError("description.type", place=place(path), path=path, problem="not a table")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]  # T is a dataclass
    tag = {"kind"} if "kind" in cls.__dict__ else set()
    for name in plain:
        if name not in fields and name not in tag:
            raise unknown(name, fields, path)
    for name, field in fields.items():
        missing = dataclasses.MISSING
        given = name in plain or name in made
        if not given and field.default is missing and field.default_factory is missing:
            raise TacitError("description.missing", place=place(path), path=path, name=name)
    hints = _hints(typing.cast(Any, cls))
    found = {
        name: _leaf(hints[name], held, (*path, name))
        for name, held in plain.items()
        if name in fields
    }
    return _construct(cls, found | dict(made), path)


def tagged(kinds: Mapping[str, type[Any]], plain: Any, path: Path) -> Any:
    """Build the one of several dataclasses that `plain["kind"]` names."""
    if not isinstance(plain, Mapping) or "kind" not in plain:
        raise TacitError("description.missing", place=place(path), path=path, name="kind")
    kind = plain["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise unknown(str(kind), kinds, (*path, "kind"))
    return from_plain(kinds[kind], plain, path)


def digest(plain: Any) -> str:
    """SHA-256 (hex) of plain data: the same on any machine, Python version and hash seed."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def place(path: Path) -> str:
    """A path in words: `protect[0].norm`; the top is `the description`."""
    text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
    return text or "the description"


def unknown(name: str, valid: Any, path: Path) -> TacitError:
    """The error for a name that does not exist, with the nearest ones that do."""
    known, hint = ", ".join(sorted(valid)), did_you_mean(name, valid)
    in_kind = bool(path) and path[-1] == "kind"
    full = path if in_kind else (*path, name)
    return TacitError(
        "description.unknown", place=place(full), path=full, name=name, hint=hint, known=known
    )


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _as_hinted(hint: Any, value: Any) -> Any:
    """A whole number in a place for real ones is a real one: 3 and 3.0 are the same setting."""
    kinds = (hint, *typing.get_args(hint))
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return float(value) if whole and float in kinds and int not in kinds else value


def _leaf(hint: Any, value: Any, path: Path) -> Any:
    if kinds := _kinds_in(hint):
        return tagged(kinds, value, path)
    inner = _dataclass_in(hint)
    if inner is not None and typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise TacitError("description.type", place=place(path), path=path, problem="not a list")
        return tuple(from_plain(inner, item, (*path, i)) for i, item in enumerate(value))
    if inner is not None:
        return from_plain(inner, value, path)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as wrong:
        problem = str(wrong).partition(" - at")[0]
        raise TacitError(
            "description.type", place=place(path), path=path, problem=problem
        ) from wrong


def _kinds_in(hint: Any) -> dict[str, type[Any]]:
    """The dataclasses of a choice among several, by their kind."""
    several = typing.get_args(hint) if typing.get_origin(hint) is not tuple else ()
    kinds = {one.__dict__["kind"]: one for one in several if "kind" in getattr(one, "__dict__", ())}
    return kinds if len(kinds) > 1 else {}


def _dataclass_in(hint: Any) -> type[Any] | None:
    for candidate in (hint, *typing.get_args(hint)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None


def _construct(cls: type[T], found: dict[str, Any], path: Path) -> T:
    """Call the constructor; its own refusal of a value gets the place where the value stands."""
    try:
        return cls(**found)
    except TacitError as refused:
        name = refused.facts.get("name")
        inner = (*path, name) if name in found else path
        raise refused.named(path=inner) from refused
