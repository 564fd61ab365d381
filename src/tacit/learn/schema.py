"""The data contract: columns, units, public ranges, categories, missing rules and the label."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.learn.cells import Floats, Parsed, about, faults, parse
from tacit.learn.column import Column, Label, check, contradiction
from tacit.learn.contract import check_examples
from tacit.learn.examples import Examples
from tacit.learn.mapping import ASK, SiteMapping
from tacit.learn.mismatch import Notice, dropped, mismatches, notices
from tacit.learn.table import Columns, Table, as_table, check_lengths


@final
@dataclass(frozen=True)
class Schema:
    """What every site of a federation agrees that its table holds. A `DataContract`.

    Numbers become features in [-1, 1] by their *public* range, categories become one 0/1 feature
    a level. No statistic of a site's data is used: a site's own mean or standard deviation would
    scale each site's features differently, would itself be something learned from its records,
    and, under record-level privacy, would let one record move the features of all the others, so
    that a clipped per-record gradient no longer bounds what that record can change.

    With `drop_first`, the first level of a category has no feature of its own: it is what the
    intercept says, and the features of a linear model stay linearly independent.
    """

    columns: tuple[Column, ...]
    label: Label
    drop_first: bool = True

    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        fits = isinstance(self.columns, tuple) and len(self.columns) > 0
        check(fits, "(schema)", "columns", self.columns, "a tuple of at least one Column")
        names = [column.name for column in self.table_columns]
        for name, count in Counter(names).items():
            if count > 1:
                why = "every name, the label's too, stands for one column"
                raise contradiction(name, "columns", name, why)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """All columns of a table under this schema: the features' and the label's."""
        return (*self.columns, self.label.column)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The encoded features, in the order of `Examples.x`."""
        return tuple(n for column in self.columns for n in column.feature_names(self.drop_first))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one encoded example."""
        return (len(self.feature_names),)

    @property
    def classes(self) -> int:
        """Number of classes; 0 for regression."""
        return self.label.class_count

    def check(self, client: str, examples: Examples) -> None:
        """Refuse examples that `encode` could not have made (see `check_examples`)."""
        check_examples(client, examples, self.shape, self.classes)
        lowest = np.concatenate([_lowest(column, self.drop_first) for column in self.columns])
        outside = (examples.x < lowest) | (examples.x > 1)
        for feature in np.flatnonzero(outside.any(axis=0))[:1]:
            raise TacitError(
                "data.scaled",
                client=client,
                column=self.feature_names[feature],
                rows=int(outside[:, feature].sum()),
                low=lowest[feature],
            )

    def encode(self, table: Columns, client: str) -> Examples:
        """Features (n, dim) float64 and labels (n,) of the rows that the missing rules keep.

        `table` holds this schema's own columns: a dict of lists or arrays, or a pandas DataFrame.
        Labels are class numbers (int64), or scaled like a feature for regression.

        Raises `data.missing-column`, `data.column-lengths`, `data.not-a-number`,
        `data.unknown-category`, `data.outside`, `data.missing` or `data.no-usable-rows`. These
        may travel to others, so they name column, rule and number of rows, and show no cell;
        `mismatches` explains them at the site.
        """
        held = {column: _held(table, column.name, client) for column in self.table_columns}
        count = check_lengths({column.name: cells for column, cells in held.items()}, client)
        parsed = {column: parse(column, cells) for column, cells in held.items()}
        for column, cells in parsed.items():
            _refuse_faults(column, cells, client)
        kept = ~dropped(parsed.items(), count)
        if not kept.any():
            raise TacitError("data.no-usable-rows", client=client, rows=count)
        blocks = [_features(column, parsed[column], self.drop_first) for column in self.columns]
        labels = _labels(self.label, parsed[self.label.column].values[kept])
        return Examples(np.concatenate(blocks, axis=1)[kept], labels)

    def in_unit(self, targets: Any) -> Floats:
        """Regression labels or predictions, scaled to [-1, 1], back in the label's own unit."""
        low, high = self.label.column.range
        return low + (np.asarray(targets, np.float64) + 1) / 2 * (high - low)

    def mismatches(
        self, table: Table | Columns, mapping: SiteMapping | None = None, client: str = "site"
    ) -> tuple[TacitError, ...]:
        """Every way in which a site's table breaks this contract, with cells and lines.

        For the site's own people: nothing here is fit to be sent elsewhere. Empty when `encode`
        would succeed.
        """
        held = table if isinstance(table, Table) else as_table(table, client)
        return mismatches(self.table_columns, held, mapping or SiteMapping(), client)

    def notices(
        self, table: Table | Columns, mapping: SiteMapping | None = None, client: str = "site"
    ) -> tuple[Notice, ...]:
        """What is legal in a table without mismatches, but worth knowing."""
        held = table if isinstance(table, Table) else as_table(table, client)
        return notices(self.table_columns, self.label, held, mapping or SiteMapping(), client)


def scaled(values: Floats, low: float, high: float) -> Floats:
    """Numbers of the public range `low`..`high` as [-1, 1]; monotone, so never outside it."""
    return 2 * ((values - low) / (high - low)) - 1


def _held(table: Columns, name: str, client: str) -> Any:
    if name not in list(table.keys()):
        raise TacitError("data.missing-column", client=client, column=name, detail=ASK, hint="")
    return table[name]


def _refuse_faults(column: Column, parsed: Parsed, client: str) -> None:
    for code, rows in faults(column, parsed):
        if rows.any():
            raise TacitError(code, client=client, detail=ASK, **about(column, rows))


def _features(column: Column, parsed: Parsed, drop_first: bool) -> Floats:
    values = parsed.values
    if column.missing == "fill":
        values = np.where(parsed.missing, column.constant, values)
    if column.kind == "number":
        low, high = column.range
        features = scaled(np.clip(values, low, high), low, high)[:, None]
    else:
        levels = range(len(column.levels))[drop_first or column.kind == "binary" :]
        features = (values[:, None] == np.array(levels)).astype(np.float64)
    if not column.flag:
        return features
    return np.concatenate([features, parsed.missing[:, None].astype(np.float64)], axis=1)


def _labels(label: Label, values: Floats) -> Any:
    if label.classes:
        return values.astype(np.int64)
    if label.above is not None:
        return (values > label.above).astype(np.int64)
    return scaled(values, *label.column.range)


def _lowest(column: Column, drop_first: bool) -> Floats:
    """The least value of each of the column's features: -1 for its number, 0 for the others."""
    lowest = np.zeros(len(column.feature_names(drop_first)))
    lowest[0] = -1 if column.kind == "number" else 0
    return lowest
