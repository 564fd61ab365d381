"""Trees of arrays and numbers as a plain outline beside flat arrays, and back, bit for bit.

What algorithms and clients carry from round to round is nested dictionaries, lists and tuples of
arrays and numbers. Stores and checkpoints keep such a tree as its outline (plain data for JSON) and
its leaves (arrays); no code is ever stored, as pickling would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError

Leaf = npt.NDArray[Any]
Outline = Any

_SIGNED_64 = range(-(1 << 63), 1 << 63)


def flatten(tree: Any, name: str) -> tuple[Outline, list[Leaf]]:
    """The outline and the leaves of a tree; raises `run.not-storable` naming `name`'s part."""
    leaves: list[Leaf] = []
    return _outline(tree, leaves, name), leaves


def unflatten(outline: Outline, leaves: Sequence[Leaf]) -> Any:
    """The tree again."""
    return _grown(outline, iter(leaves))


def _outline(tree: Any, leaves: list[Leaf], name: str) -> Outline:
    match tree:
        case None | bool() | str():
            return ["=", tree]
        case np.ndarray() if _storable(tree.dtype):
            leaves.append(tree)
            return ["array"]
        case np.generic() if _storable(tree.dtype):
            leaves.append(np.asarray(tree))
            return ["scalar"]
        case float():
            leaves.append(np.asarray(tree))
            return ["float"]
        case int() if tree in _SIGNED_64:
            leaves.append(np.asarray(tree, np.int64))
            return ["int"]
        case Mapping():
            pairs = [
                (key, _outline(held, leaves, f"{name}[{key!r}]")) for key, held in tree.items()
            ]
            if all(isinstance(key, str | int) for key, _ in pairs):
                return ["dict", *([key, held] for key, held in pairs)]
        case list() | tuple() if type(tree) in (list, tuple):
            held = [_outline(one, leaves, f"{name}[{i}]") for i, one in enumerate(tree)]
            return [type(tree).__name__, *held]
    raise TacitError("run.not-storable", name=name, kind=type(tree).__name__)


def _grown(outline: Outline, leaves: Iterator[Leaf]) -> Any:
    kind, *inner = outline
    match kind:
        case "=":
            return inner[0]
        case "array":
            return next(leaves)
        case "scalar":
            return next(leaves)[()]
        case "float" | "int":
            return next(leaves).item()
        case "dict":
            return {key: _grown(held, leaves) for key, held in inner}
        case "list":
            return [_grown(held, leaves) for held in inner]
        case "tuple":
            return tuple(_grown(held, leaves) for held in inner)
    raise ValueError(f"an outline knows no {kind!r}")


def _storable(dtype: np.dtype[Any]) -> bool:
    """Plain numbers, dates and texts; no objects and no records."""
    return not dtype.hasobject and dtype.names is None
