"""A site's CSV file as columns of texts; everything that can be wrong with a file has its error."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.learn.cells import is_missing, number
from tacit.learn.column import check, check_text, contradiction

DELIMITERS = (",", ";", "\t", "|")


class Columns(Protocol):
    """Columns by name: a dict of lists or arrays, or a pandas DataFrame."""

    def keys(self) -> Any:
        """The names."""
        ...

    def __getitem__(self, name: str, /) -> Any: ...


@final
@dataclass(frozen=True)
class FileFormat:
    """How a site writes its table.

    `header`: the first line holds the column names; without it, `names` gives them. `decimal` is
    the decimal mark. `missing` lists texts and numbers that mean "not known" in every column; an
    empty cell always does.
    """

    header: bool = True
    names: tuple[str, ...] = ()
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: tuple[str | float, ...] = ()

    def __post_init__(self) -> None:
        where = "(file)"
        if self.header and self.names:
            raise contradiction(where, "names", self.names, "header = true")
        check(self.header or bool(self.names), where, "names", self.names, "a list of column names")
        for name in self.names:
            check_text(where, "names", name)
        one = len(self.delimiter) == 1 and self.delimiter not in '"\n\r'
        check(one, where, "delimiter", self.delimiter, "one character")
        check(self.decimal in {".", ","}, where, "decimal", self.decimal, "'.' or ','")
        if self.decimal == self.delimiter:
            raise contradiction(where, "decimal", self.decimal, "the delimiter is the same")
        known = _known_encoding(self.encoding)
        check(known, where, "encoding", self.encoding, "an encoding that Python knows")


@final
@dataclass(frozen=True)
class Table:
    """A table as the site keeps it.

    `names` are the columns as written (repeats and all), `columns` the cells of the first column
    of each name, `lines` the line of each row in its file (or its number from 1), and `ragged`
    the (line, number of cells) of rows that were left out for their length.
    """

    names: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    lines: tuple[int, ...]
    ragged: tuple[tuple[int, int], ...] = ()
    place: str = field(default="line", repr=False)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def repeated(self) -> frozenset[str]:
        """Names that stand over more than one column."""
        return frozenset(name for name, count in Counter(self.names).items() if count > 1)

    @property
    def headless(self) -> bool:
        """True when every column name reads like a value: the file has no header line."""
        return all(
            is_missing(name) or name == "?" or not math.isnan(number(name)) for name in self.names
        )


def as_table(columns: Columns, client: str) -> Table:
    """Columns in memory as a table; raises `data.column-lengths` if they are not equally long."""
    held = {str(name): columns[name] for name in columns.keys()}  # noqa: SIM118
    count = check_lengths(held, client)
    return Table(tuple(held), held, tuple(range(1, count + 1)), place="row")


def check_lengths(columns: Mapping[str, Any], client: str) -> int:
    """The common length of one-dimensional columns, or raise `data.column-lengths`."""
    shapes = {name: np.shape(held) for name, held in columns.items()}
    first = next(iter(shapes.values()), (0,))
    for name, shape in shapes.items():
        if len(shape) != 1 or shape != first:
            found, expected = (" x ".join(map(str, s)) or "1" for s in (shape, first))
            raise TacitError(
                "data.column-lengths", client=client, column=name, found=found, expected=expected
            )
    return int(first[0])


def read_table(path: Path, form: FileFormat, client: str) -> Table:
    """Read a CSV file.

    Raises `data.file`, `data.encoding`, `data.csv`, `data.delimiter` or `data.no-rows` when
    nothing more can be said of the file; rows of another length are kept aside in `ragged`.
    """
    rows = list(_rows(_text(path, form.encoding, client), path, form, client))
    names = tuple(rows.pop(0)[1]) if form.header and rows else form.names
    _check_delimiter(rows, names, path, form, client)
    if not rows:
        raise TacitError("data.no-rows", client=client, file=path.name)
    whole = [(line, cells) for line, cells in rows if len(cells) == len(names)]
    ragged = tuple((line, len(cells)) for line, cells in rows if len(cells) != len(names))
    columns: dict[str, Sequence[str]] = {}
    for i, name in enumerate(names):
        columns.setdefault(name, [cells[i] for _, cells in whole])
    return Table(names, columns, tuple(line for line, _ in whole), ragged)


def _text(path: Path, encoding: str, client: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as failed:
        why = failed.strerror or type(failed).__name__
        raise TacitError("data.file", client=client, file=path.name, why=why) from failed
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as failed:
        # The failure holds the whole file: it must not travel behind the error.
        raise _not_text(raw, failed.start, path, encoding, client) from None
    if "\0" in text:
        raise _not_text(raw, raw.index(0), path, encoding, client)
    return text


def _not_text(raw: bytes, at: int, path: Path, encoding: str, client: str) -> TacitError:
    line = raw.count(b"\n", 0, at) + 1
    return TacitError("data.encoding", client=client, file=path.name, encoding=encoding, line=line)


def _rows(text: str, path: Path, form: FileFormat, client: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the stripped cells of every row; blank lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=form.delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, [cell.strip() for cell in row]
            line = reader.line_num + 1
    except csv.Error as failed:
        raise TacitError(
            "data.csv", client=client, file=path.name, line=line, problem=failed
        ) from failed


def _check_delimiter(
    rows: Sequence[tuple[int, Sequence[str]]],
    names: Sequence[str],
    path: Path,
    form: FileFormat,
    client: str,
) -> None:
    """A header (or, without one, a table) of single cells that another delimiter would split."""
    if form.header and names:
        singles = [names[0]] if len(names) == 1 else []
    else:
        singles = [cells[0] for _, cells in rows if len(cells) == 1]
        singles = singles if len(singles) == len(rows) else []
    for other in DELIMITERS:
        if singles and all(other in single for single in singles):
            raise TacitError(
                "data.delimiter",
                client=client,
                file=path.name,
                found=form.delimiter,
                likely=json.dumps(other),
            )


def _known_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
    except LookupError:
        return False
    return True
