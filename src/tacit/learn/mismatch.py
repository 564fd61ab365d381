"""What does not fit between a site's table and the schema, explained to the site's own people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.learn.cells import Mask, Parsed, about, faults, level_text, parse
from tacit.learn.column import Column, Label
from tacit.learn.mapping import SiteMapping
from tacit.learn.table import Table

SHOWN = 5
"""How many cells and how many lines one message lists."""

NEARLY_ONE_CLASS = 0.9
MOSTLY_MISSING = 0.5


@final
class Notice(TacitError):
    """Legal, but worth knowing before a federation: collected and shown, never raised."""


def mismatches(
    columns: Sequence[Column], table: Table, mapping: SiteMapping, client: str
) -> tuple[TacitError, ...]:
    """Every mismatch at once, with cells and lines: for the eyes of the site."""
    found = list(mapping.problems(table, columns, client))
    if not len(table):
        return (*found, TacitError("data.no-usable-rows", client=client, rows=len(table.ragged)))
    parsed = dict(_parsed(columns, table, mapping))
    for column, cells in parsed.items():
        for code, rows in faults(column, cells):
            if rows.any():
                found.append(_fault(code, rows, column, table, mapping, client))
    if not found and dropped(parsed.items(), len(table)).all():
        found.append(TacitError("data.no-usable-rows", client=client, rows=len(table)))
    return tuple(found)


def notices(
    columns: Sequence[Column], label: Label, table: Table, mapping: SiteMapping, client: str
) -> tuple[Notice, ...]:
    """What is legal but worth knowing; for a table without mismatches."""
    parsed = dict(_parsed(columns, table, mapping))
    gone = dropped(parsed.items(), len(table))
    if gone.all():
        return ()
    found = []
    if gone.any():
        facts = {"rows": int(gone.sum()), "total": len(table)}
        found.append(Notice("data.dropped-rows", client=client, **facts))
    for column, cells in parsed.items():
        if column.name != label.name:
            found += _column_notices(column, cells, ~gone, client)
    return (*found, *_label_notices(label, parsed[label.column].values[~gone], client))


def dropped(parsed: Iterable[tuple[Column, Parsed]], count: int) -> Mask:
    """The rows that a missing rule drops (count,)."""
    gone: Mask = np.zeros(count, np.bool_)
    for column, cells in parsed:
        if column.missing == "drop":
            gone |= cells.missing
    return gone


def _parsed(
    columns: Sequence[Column], table: Table, mapping: SiteMapping
) -> Iterator[tuple[Column, Parsed]]:
    for column in columns:
        if mapping.of(column.name).absent or mapping.source(column.name) in table.columns:
            yield column, parse(column, mapping.cells(table, column))


def _fault(
    code: str, rows: Mask, column: Column, table: Table, mapping: SiteMapping, client: str
) -> TacitError:
    absent = mapping.of(column.name).absent
    where = np.flatnonzero(rows)
    lines = [table.lines[row] for row in where]
    if absent:
        detail = ": the mapping says that the site does not have the column"
    elif code == "data.missing":
        detail = f": {_lines(lines, table.place)}"
    else:
        raw = table.columns[mapping.source(column.name)]
        cells = np.asarray(raw, dtype=object)[where]
        detail = f": {_cells(code, column, list(cells), lines, table.place)}"
    return TacitError(code, client=client, detail=detail, **about(column, rows))


def _cells(
    code: str, column: Column, cells: Sequence[Any], lines: Sequence[int], place: str
) -> str:
    """Distinct cells, the most frequent first, each with its lines and the nearest category."""
    where: dict[str, list[int]] = {}
    for cell, line in zip(cells, lines, strict=True):
        where.setdefault(level_text(cell), []).append(line)
    ordered = sorted(where, key=lambda text: -len(where[text]))
    said = []
    for text in ordered[:SHOWN]:
        near = did_you_mean(text, column.levels) if code == "data.unknown-category" else ""
        said.append(f"{text!r} in {_lines(where[text], place)}" + (near and f" ({near.strip()})"))
    more = f"; and {len(ordered) - SHOWN} other values" if len(ordered) > SHOWN else ""
    return "; ".join(said) + more


def _lines(lines: Sequence[int], place: str) -> str:
    shown = ", ".join(map(str, lines[:SHOWN]))
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{place}{'s' if len(lines) > 1 else ''} {shown}{more}"


def _column_notices(column: Column, cells: Parsed, kept: Mask, client: str) -> Iterator[Notice]:
    missing = float(cells.missing[kept].mean())
    known = cells.values[kept & ~cells.missing]
    if missing > MOSTLY_MISSING:
        facts = {"column": column.name, "percent": 100 * missing}
        yield Notice("data.mostly-missing", client=client, **facts)
    elif len(known) and (known == known[0]).all():
        yield Notice("data.constant-column", client=client, column=column.name)


def _label_notices(label: Label, values: Any, client: str) -> Iterator[Notice]:
    if not label.class_count:
        return
    classes = values if label.above is None else values > label.above
    share = float(np.unique(classes, return_counts=True)[1].max()) / len(classes)
    if share >= NEARLY_ONE_CLASS:
        percent = 100 * share
        yield Notice("data.nearly-one-class", client=client, column=label.name, percent=percent)
