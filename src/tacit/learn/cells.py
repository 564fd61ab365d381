"""Cells to numbers: one reading of a column, used to encode it and to explain what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tacit.learn.column import Column

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Parsed(NamedTuple):
    """A column's cells (n,): what they say, and which of them say nothing usable.

    `values` are numbers in the column's unit, or indices into its levels; NaN where `missing`
    (empty) or `wrong` (no number, or a text that is not one of the levels). `outside` marks
    numbers beyond the public range.
    """

    values: Floats
    missing: Mask
    wrong: Mask
    outside: Mask


def parse(column: Column, cells: Any) -> Parsed:
    """Read a column's cells: texts, numbers, None, NaN, or an array of them."""
    if column.kind == "number" and getattr(cells, "dtype", np.dtype(object)).kind in "iuf":
        found: Floats = np.asarray(cells).astype(np.float64)
        missing: Mask = np.isnan(found)
    else:
        listed = list(cells)
        missing = np.fromiter(map(is_missing, listed), np.bool_, len(listed))
        found = np.fromiter(map(_reader(column), listed), np.float64, len(listed))
    values = np.where(missing | np.isinf(found), np.nan, found)
    wrong = np.isnan(values) & ~missing
    low, high = column.range if column.kind == "number" else (-math.inf, math.inf)
    return Parsed(values, missing, wrong, (values < low) | (values > high))


def faults(column: Column, parsed: Parsed) -> Iterator[tuple[str, Mask]]:
    """The error codes that a column's cells give rise to, each with the rows it is about."""
    text = "data.not-a-number" if column.kind == "number" else "data.unknown-category"
    yield text, parsed.wrong
    if column.outside == "refuse":
        yield "data.outside", parsed.outside
    if column.missing == "refuse":
        yield "data.missing", parsed.missing


def about(column: Column, rows: Mask) -> dict[str, Any]:
    """The column, how many cells, and what is allowed: for the sentences of those errors."""
    allowed = ", ".join(column.levels)
    if column.kind == "number":
        low, high = column.range
        allowed = f"{low:g} to {high:g} {column.unit}".rstrip()
    count = int(rows.sum())
    return {
        "column": column.name,
        "rows": count,
        "cells": counted(count, "cell"),
        "allowed": allowed,
    }


def counted(count: int, thing: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def is_missing(cell: Any) -> bool:
    """None, NaN, pandas' NA and NaT, and text of spaces or nothing."""
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float | np.floating) and math.isnan(cell)


def number(cell: Any) -> float:
    """The number that a cell says, NaN if it says none ("nan", "1_000" and "12,5" say none)."""
    text = str(cell).strip()
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def level_text(cell: Any) -> str:
    """A cell as the text of a level: whole floats and truth values lose their dressing."""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def _reader(column: Column) -> Any:
    if column.kind == "number":
        return number
    index = {level: float(i) for i, level in enumerate(column.levels)}
    return lambda cell: index.get(level_text(cell), math.nan)
