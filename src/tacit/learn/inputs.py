"""Data as users have it, read as features and labels.

Pairs of arrays (numpy, memory maps, torch tensors), tables (pandas, Arrow, Parquet files, Hugging
Face `datasets`, a dict of columns), and data sets by index (`torch.utils.data.Dataset`). What a
source is follows from what it can do, so none of these packages is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.base.nearest import did_you_mean

Array = npt.NDArray[Any]
Names = str | Sequence[str]


@final
@dataclass(frozen=True)
class TableColumns:
    """A table by its columns, whatever package holds it (`tacit.learn.table.Columns`)."""

    names: tuple[str, ...]
    column: Callable[[str], Any]

    def keys(self) -> tuple[str, ...]:
        """The columns' names."""
        return self.names

    def __getitem__(self, name: str, /) -> Any:
        return self.column(name)


def arrays(
    source: Any, client: str, features: Names | None = None, label: str | None = None
) -> tuple[Array, Array]:
    """Features (n, ...) and labels (n, ...) of one client's data.

    `source`: a pair (x, y), a pair (table, name of its label), a table, or a data set by index
    with items (x, y) or dicts. Numpy arrays and memory maps are not copied. `features`: columns as
    a matrix (n, columns), or the name of a single column that already holds an array a row; all
    but the label by default.

    Errors name the client: `data.unknown-source`, `data.no-label`, `data.no-column`,
    `data.not-numbers`, `data.lengths-differ`, `data.item`, `data.item-shape`, `data.file`.
    """
    if is_pair(source):
        first, second = source
        if isinstance(second, str):
            return arrays(first, client, features, second)
        table = columns_of(first, client)
        x = np.asarray(first) if table is None else _features(table, features, "", client)
        return _paired(x, np.asarray(second), client)
    table = columns_of(source, client)
    if table is not None:
        return _of_columns(table, client, features, label)
    if is_data_set(source):
        return _of_items(source, client, features, label)
    raise TacitError("data.unknown-source", client=client, kind=type(source).__name__)


def is_pair(source: Any) -> bool:
    """Whether a source is two things that belong together: a tuple, a list, or `Examples`."""
    if isinstance(source, tuple | list):
        return len(source) == 2
    unpacks = hasattr(source, "x") and hasattr(source, "y") and hasattr(source, "__iter__")
    return unpacks and not is_table(source)


def is_data_set(source: Any) -> bool:
    """Whether a source is a data set by index (a map-style `torch.utils.data.Dataset`)."""
    by_index = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    return by_index and not isinstance(source, str | bytes | list | tuple | Mapping | np.ndarray)


def columns_of(source: Any, client: str) -> TableColumns | None:
    """The source's columns, if it is a table; a path is read as a Parquet file."""
    if isinstance(source, str | PathLike):
        source = _parquet(Path(source), client)
    if isinstance(source, Mapping):
        return TableColumns(tuple(map(str, source)), source.__getitem__)
    if hasattr(source, "column_names") and hasattr(source, "with_format"):
        return TableColumns(tuple(source.column_names), lambda name: _hugging_face(source, name))
    if hasattr(source, "column_names") and hasattr(source, "schema"):
        return TableColumns(tuple(source.column_names), lambda name: _arrow(source, name))
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        return TableColumns(tuple(map(str, source.columns)), source.__getitem__)
    return None


def is_table(source: Any) -> bool:
    """Whether a source has named columns in memory."""
    columns = hasattr(source, "columns") and hasattr(source, "to_numpy")
    return columns or hasattr(source, "column_names")


def _hugging_face(source: Any, name: str) -> Any:
    return source.select_columns([name]).with_format("numpy")[:][name]


def _arrow(source: Any, name: str) -> Any:
    return source.column(name).to_numpy(zero_copy_only=False)


def _parquet(path: Path, client: str) -> Any:
    parquet = optional("pyarrow.parquet", "Reading a Parquet file")
    arrow = optional("pyarrow", "Reading a Parquet file")
    try:
        return parquet.read_table(path)
    except (OSError, arrow.ArrowException) as failed:
        raise TacitError("data.parquet", client=client, file=path.name, why=failed) from failed


def _of_columns(
    table: TableColumns, client: str, features: Names | None, label: str | None
) -> tuple[Array, Array]:
    if label is None:
        raise TacitError("data.no-label", client=client, columns=", ".join(table.names))
    return _paired(_features(table, features, label, client), _column(table, label, client), client)


def _features(table: TableColumns, features: Names | None, label: str, client: str) -> Array:
    """One column as it is, or several side by side."""
    if isinstance(features, str):
        return _column(table, features, client)
    names = [name for name in table.names if name != label] if features is None else features
    held = [_column(table, name, client) for name in names]
    if features is None and len(held) == 1 and held[0].ndim > 1:
        return held[0]
    return np.column_stack(held) if held else np.empty((0, 0))


def _column(table: TableColumns, name: str, client: str) -> Array:
    """A column of numbers: (n,), or (n, ...) where each cell is an array of one shape."""
    if name not in table.names:
        columns, hint = ", ".join(table.names), did_you_mean(name, table.names)
        raise TacitError("data.no-column", client=client, column=name, columns=columns, hint=hint)
    values = np.asarray(table[name])
    if values.dtype.kind == "O":
        values = _of_cells(values)
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind not in "iuf":
        found = {"U": "text", "S": "text", "O": "values of several kinds"}
        kind = found.get(values.dtype.kind, str(values.dtype))
        raise TacitError("data.not-numbers", client=client, column=name, found=kind)
    return values


def _of_cells(cells: Array) -> Array:
    """Cells that are Python objects as one array, if they all have one shape."""
    try:
        return np.stack([np.asarray(cell) for cell in cells]) if len(cells) else np.empty(0)
    except ValueError:
        return cells


def _of_items(
    source: Any, client: str, features: Names | None, label: str | None
) -> tuple[Array, Array]:
    """Every item once, into two arrays made for them."""
    count = len(source)
    if not count:
        raise TacitError("data.empty", client=client)
    held: tuple[Array, Array] | None = None
    for index in range(count):
        item = _item(source, index, client, features, label)
        if held is None:
            held = (_room(count, item[0]), _room(count, item[1]))
        for part, into, value in zip(("features", "a label"), held, item, strict=True):
            if value.shape != into.shape[1:]:
                facts = {"part": part, "found": value.shape, "expected": into.shape[1:]}
                raise TacitError("data.item-shape", client=client, index=index, **facts)
            into[index] = value
    assert held is not None
    return held


def _room(count: int, like: Array) -> Array:
    return np.empty((count, *like.shape), like.dtype)


def _item(
    source: Any, index: int, client: str, features: Names | None, label: str | None
) -> tuple[Array, Array]:
    """One item, whatever the user's data set makes of it."""
    try:
        item = source[index]
        if isinstance(item, Mapping):
            x, y = item[features], item[label]
        else:
            x, y = item
        return np.asarray(x), np.asarray(y)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise TacitError("data.item", client=client, index=index, problem=problem) from error


def _paired(x: Array, y: Array, client: str) -> tuple[Array, Array]:
    if len(x) != len(y):
        raise TacitError("data.lengths-differ", client=client, features=len(x), labels=len(y))
    return x, y
