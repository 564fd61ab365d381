"""Fake rows that obey a schema and say nothing about anybody: to develop on without any data."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.column import Column
from tacit.learn.examples import Examples
from tacit.learn.schema import Schema


def mock_table(schema: Schema, rows: int, key: Key) -> dict[str, list[str]]:
    """Fake cells for every column of the schema, label included, as texts.

    Numbers are uniform over their public range (rounded to four digits), categories uniform over
    their levels, all independent: there is nothing to learn from them.
    """
    if rows < 1:
        raise TacitError("task.setting", name="rows", value=rows, rule="a whole number from 1")
    return {column.name: _cells(column, rows, key / column.name) for column in schema.table_columns}


def mock(schema: Schema, rows: int, key: Key) -> Examples:
    """Fake encoded examples, as a client's own would arrive at the task."""
    return schema.encode(mock_table(schema, rows, key), "mock")


def as_csv(table: Mapping[str, Sequence[str]]) -> str:
    """A table as CSV text with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def _cells(column: Column, rows: int, key: Key) -> list[str]:
    rng = key.generator()
    if column.kind != "number":
        return [column.levels[level] for level in rng.integers(len(column.levels), size=rows)]
    low, high = column.range
    return [_text(float(value), low, high) for value in rng.uniform(low, high, rows)]


def _text(value: float, low: float, high: float) -> str:
    """Four digits are enough for a fake, unless rounding leaves the range."""
    short = float(f"{value:.4g}")
    return repr(short if low <= short <= high else min(max(value, low), high))
