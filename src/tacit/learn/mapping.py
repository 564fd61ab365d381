"""From a site's own table to the schema's columns; the mapping stays at the site."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.base.toml_lines import line_of
from tacit.learn.cells import counted, level_text, number
from tacit.learn.column import Column, check, contradiction, is_number
from tacit.learn.table import FileFormat, Table

Cells = list[Any]

ASK = " (`tacit data check` at the site shows more)"
"""Stands in a message that may leave the site for what only the site may see."""

# Swapped, not replaced: with a decimal comma, "1.234" must not pass for 1.234.
_DECIMAL_COMMA = str.maketrans(",.", ".,")


@final
@dataclass(frozen=True)
class ColumnSource:
    """Where one column of the schema comes from at this site.

    `source` (`from` in the TOML file) is the site's name for it; empty means the same name.
    `missing` adds texts and numbers that mean "not known" in this column. `values` replaces texts.
    A number in the site's unit becomes `factor` x number + `offset`. `absent` says that the site
    has no such column: every cell is missing, and the schema's missing rule decides.
    """

    source: str = ""
    missing: tuple[str | float, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    factor: float = 1.0
    offset: float = 0.0
    absent: bool = False

    def __post_init__(self) -> None:
        where = self.source or "(mapping)"
        works = is_number(self.factor) and self.factor != 0
        check(works, where, "factor", self.factor, "a finite number other than 0")
        check(is_number(self.offset), where, "offset", self.offset, "a finite number")
        described = self.source or self.missing or self.values
        if self.absent and (described or (self.factor, self.offset) != (1, 0)):
            raise contradiction(where, "absent", True, "its other settings describe the column")


@final
@dataclass(frozen=True)
class SiteMapping:
    """How one site's file becomes the schema's table: the file's form and its columns.

    A column of the schema that is not listed in `columns` is taken from the column of the same
    name. `text` is the TOML text it came from, for the lines in messages.
    """

    file: FileFormat = field(default_factory=FileFormat)
    columns: Mapping[str, ColumnSource] = field(default_factory=dict)
    text: str = field(default="", repr=False, compare=False)

    def of(self, name: str) -> ColumnSource:
        """What the mapping says of one of the schema's columns."""
        return self.columns.get(name, ColumnSource())

    def source(self, name: str) -> str:
        """The site's own name for a column of the schema."""
        return self.of(name).source or name

    def translate(self, table: Table, columns: Sequence[Column], client: str) -> dict[str, Cells]:
        """The schema's columns, with None for a missing cell.

        Raises the first of `problems`, which name columns and rows but show no cell.
        """
        for problem in self.problems(table, columns, client):
            raise quiet(problem)
        return {column.name: self.cells(table, column) for column in columns}

    def problems(
        self, table: Table, columns: Sequence[Column], client: str
    ) -> Iterable[TacitError]:
        """What keeps the table's columns from being found at all."""
        yield from self.misfits(columns, client)
        wanted = [column.name for column in columns if not self.of(column.name).absent]
        lost = [name for name in wanted if self.source(name) not in table.columns]
        if wanted and lost == wanted and table.headless:
            yield TacitError("data.no-header", client=client)
            return
        for name in lost:
            yield self._missing(name, table, client)
        for name in wanted:
            if self.source(name) in table.repeated:
                detail = f" ({self.source(name)!r})"
                yield TacitError("data.repeated-column", client=client, column=name, detail=detail)
        if table.ragged:
            yield _ragged(table, client)

    def misfits(self, columns: Sequence[Column], client: str) -> Iterable[TacitError]:
        """What the mapping says of columns that does not fit the schema."""
        known = {column.name: column for column in columns}
        for name, source in self.columns.items():
            if name not in known:
                hint = f"{did_you_mean(name, known)}The schema's columns: {', '.join(known)}. "
                what = f"the schema has no column {name!r}"
                yield self._misfit(client, ("columns", name), what, hint)
            elif known[name].kind != "number":
                yield from self._level_misfits(known[name], source, client)

    def cells(self, table: Table, column: Column) -> Cells:
        """One of the schema's columns out of the site's table; None where a cell is missing."""
        source = self.of(column.name)
        if source.absent:
            return [None] * len(table)
        unknown = (*self.file.missing, *source.missing)
        texts = {mark for mark in unknown if isinstance(mark, str)}
        numbers = {float(mark) for mark in unknown if not isinstance(mark, str)}
        numeric = column.kind == "number"
        marks = _DECIMAL_COMMA if self.file.decimal == "," else {}

        def cell(raw: Any) -> Any:
            key = level_text(raw)
            said = source.values.get(key, raw)
            plain = said.strip().translate(marks) if isinstance(said, str) else said
            if key in texts or (numbers and number(plain) in numbers):
                return None
            return _in_unit(plain, source) if numeric else said

        return [cell(raw) for raw in table.columns[self.source(column.name)]]

    def _level_misfits(
        self, column: Column, source: ColumnSource, client: str
    ) -> Iterable[TacitError]:
        path = ("columns", column.name)
        for name in ("factor", "offset"):
            if getattr(source, name) != getattr(ColumnSource(), name):
                what = f"{name} is for numbers, but {column.name!r} is a {column.kind}"
                yield self._misfit(client, (*path, name), what, f"Leave {name} out.")
        for text, level in source.values.items():
            if level not in column.levels:
                what = f"{level!r} is not a category of {column.name!r}"
                near = did_you_mean(level, column.levels)
                hint = f"{near}Its categories: {', '.join(column.levels)}. "
                yield self._misfit(client, (*path, "values", text), what, hint)

    def _misfit(self, client: str, path: tuple[str, ...], what: str, hint: str) -> TacitError:
        line = line_of(self.text, path)
        place = ".".join(path) + (f" in line {line}" if line else "")
        return TacitError("data.mapping", client=client, detail=f": {place}: {what}", hint=hint)

    def _missing(self, name: str, table: Table, client: str) -> TacitError:
        source = self.source(name)
        known = f"The file's columns: {', '.join(table.names)}. "
        return TacitError(
            "data.missing-column",
            client=client,
            column=name,
            detail=f" (looked for {source!r} in the file)",
            hint=did_you_mean(source, table.names) + known,
        )


def quiet(error: TacitError) -> TacitError:
    """The error as it may leave the site: without cells, lines, and names of the site's own."""
    public = {"detail": ASK, "hint": ""}
    return error.named(**{fact: said for fact, said in public.items() if fact in error.facts})


def _in_unit(cell: Any, source: ColumnSource) -> Any:
    """A number in the schema's unit; what is no number stays as it is, to be reported."""
    if source.factor == 1 and source.offset == 0:
        return cell
    found = number(cell)
    return cell if math.isnan(found) else source.factor * found + source.offset


def _ragged(table: Table, client: str) -> TacitError:
    shown = ", ".join(f"{cells} in line {line}" for line, cells in table.ragged[:5])
    more = f" and {len(table.ragged) - 5} more" if len(table.ragged) > 5 else ""
    return TacitError(
        "data.ragged-rows",
        client=client,
        rows=len(table.ragged),
        cells=counted(len(table.ragged), "row"),
        expected=len(table.names),
        detail=f": {shown}{more}",
    )
