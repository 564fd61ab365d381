"""The check of an outline that a stranger wrote, before `tacit.base.tree` builds a tree from it."""

from __future__ import annotations

from typing import Any

DEPTH = 64
"""Levels of nesting that an outline may have."""

_LEAVES = ("array", "scalar", "float", "int")


def expected_leaves(outline: Any) -> list[str]:
    """The kinds of the leaves that an outline needs, in order; ValueError says what is wrong."""
    kinds: list[str] = []
    _walk(outline, kinds, DEPTH)
    return kinds


def _walk(outline: Any, kinds: list[str], depth: int) -> None:
    if depth == 0:
        raise ValueError(f"it is nested more than {DEPTH} levels deep")
    match outline:
        case ["=", None | bool() | str()]:
            return
        case [str(kind)] if kind in _LEAVES:
            kinds.append(kind)
        case ["dict", *pairs]:
            for held in _values(pairs):
                _walk(held, kinds, depth - 1)
        case ["list" | "tuple", *parts]:
            for held in parts:
                _walk(held, kinds, depth - 1)
        case _:
            raise ValueError("it holds something that is no part of a tree")


def _values(pairs: list[Any]) -> list[Any]:
    """What a dictionary holds, if its keys are texts or whole numbers, each once."""
    keys, values = set(), []
    for pair in pairs:
        match pair:
            case [str() | int() as key, held]:
                keys.add(key)
                values.append(held)
            case _:
                raise ValueError("a dictionary has a key that is neither text nor whole number")
    if len(keys) != len(pairs):
        raise ValueError("a dictionary has a key twice")
    return values
