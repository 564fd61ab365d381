"""The columns of a data contract: what one column and the label may hold, in public terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean

KINDS = ("number", "category", "binary")
MISSING = ("refuse", "drop", "fill")
OUTSIDE = ("refuse", "clamp")


@final
@dataclass(frozen=True)
class Column:
    """One feature column, the same at every site.

    A *number* has a `unit` and a public range `low`..`high`: clinical or technical knowledge, not
    a statistic of anybody's data. A *category* lists its texts; a *binary* has two (by default
    "0" and "1"), the second of which is the one that the feature says.

    `missing` is the rule for an empty cell: "refuse" the table, "drop" the row, or "fill" in the
    public constant `fill` (for a number by default the middle of its range). `flag` adds a
    feature that is 1 where the cell was empty. `outside` is the rule for a number outside the
    range: "refuse" it, or "clamp" it to the nearer end.

    Raises `data.setting` or `data.contradiction`.
    """

    name: str
    kind: str = "number"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    missing: str = "refuse"
    fill: float | str | None = None
    flag: bool = False
    outside: str = "refuse"

    def __post_init__(self) -> None:
        check_text(self.name, "name", self.name)
        check_choice(self.name, "kind", self.kind, KINDS)
        check_choice(self.name, "missing", self.missing, MISSING)
        check_choice(self.name, "outside", self.outside, OUTSIDE)
        if self.kind == "number":
            self._check_number()
        else:
            self._check_levels()
        self._check_fill()
        as_floats(self, ("low", "high", "fill"))

    @property
    def levels(self) -> tuple[str, ...]:
        """The texts that a category or binary column may hold; empty for a number."""
        return ("0", "1") if self.kind == "binary" and not self.categories else self.categories

    @property
    def constant(self) -> float:
        """What an empty cell is filled with: a number in the column's unit, or a level's index."""
        if isinstance(self.fill, str):
            return float(self.levels.index(self.fill))
        if self.fill is not None:
            return float(self.fill)
        low, high = self.range
        return low + (high - low) / 2

    @property
    def range(self) -> tuple[float, float]:
        """The public range of a number."""
        assert self.low is not None and self.high is not None
        return float(self.low), float(self.high)

    def feature_names(self, drop_first: bool) -> tuple[str, ...]:
        """The features that this column becomes, in order."""
        flag = (f"{self.name} missing",) if self.flag else ()
        if self.kind == "number":
            return (self.name, *flag)
        first = 1 if drop_first or self.kind == "binary" else 0
        return (*(f"{self.name}={level}" for level in self.levels[first:]), *flag)

    def _check_number(self) -> None:
        if self.categories:
            raise contradiction(self.name, "categories", self.categories, "it is a number")
        check_range(self.name, self.low, self.high)

    def _check_levels(self) -> None:
        for name in ("low", "high"):
            if (value := getattr(self, name)) is not None:
                raise contradiction(self.name, name, value, f"its kind is {self.kind!r}")
        if self.outside == "clamp":
            raise contradiction(self.name, "outside", "clamp", f"its kind is {self.kind!r}")
        check_levels(self.name, "categories", self.levels, exactly_two=self.kind == "binary")

    def _check_fill(self) -> None:
        if self.missing != "fill":
            for name, value in (("fill", self.fill), ("flag", self.flag or None)):
                if value is not None:
                    raise contradiction(self.name, name, value, f"missing is {self.missing!r}")
        elif self.kind == "number":
            low, high = self.range
            fits = self.fill is None or (is_number(self.fill) and low <= float(self.fill) <= high)
            rule = f"a number from {low:g} to {high:g}"
            check(fits, self.name, "fill", self.fill, rule)
        else:
            rule = f"one of {', '.join(self.levels)}"
            check(self.fill in self.levels, self.name, "fill", self.fill, rule)


@final
@dataclass(frozen=True)
class Label:
    """What is to be predicted.

    Either `classes`, the texts in the order of their class numbers; or a number with a public
    range `low`..`high`. A number becomes two classes if `above` is given (class 1 when the number
    is above it), and a regression target, scaled like a feature to [-1, 1], if it is not.
    `missing` is "refuse" or "drop" (the row).
    """

    name: str
    classes: tuple[str, ...] = ()
    above: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    missing: str = "refuse"

    def __post_init__(self) -> None:
        check_text(self.name, "name", self.name)
        check_choice(self.name, "missing", self.missing, MISSING[:2])
        if self.classes:
            for name in ("above", "low", "high"):
                if (value := getattr(self, name)) is not None:
                    raise contradiction(self.name, name, value, "it lists classes")
            check_levels(self.name, "classes", self.classes, exactly_two=False)
            return
        check_range(self.name, self.low, self.high)
        as_floats(self, ("low", "high", "above"))
        if self.above is not None:
            low, high = self.column.range
            fits = is_number(self.above) and low <= self.above < high
            check(fits, self.name, "above", self.above, f"a number from {low:g} to below {high:g}")

    @property
    def column(self) -> Column:
        """The label's own column in a table."""
        if self.classes:
            return Column(self.name, "category", categories=self.classes, missing=self.missing)
        return Column(self.name, unit=self.unit, low=self.low, high=self.high, missing=self.missing)

    @property
    def class_count(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes) or (0 if self.above is None else 2)


def check(fits: bool, column: str, name: str, value: Any, rule: str) -> None:
    """Raise `data.setting` unless the setting `name` of `column` fits its rule."""
    if not fits:
        raise TacitError("data.setting", column=column, name=name, value=value, rule=rule)


def contradiction(column: str, name: str, value: Any, why: str) -> TacitError:
    """The error for a setting that another setting rules out."""
    return TacitError("data.contradiction", column=column, name=name, value=value, why=why)


def check_choice(column: str, name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `data.setting` unless the value is one of a few words."""
    hint = did_you_mean(value, choices).strip() if isinstance(value, str) else ""
    rule = f"one of {', '.join(choices)}" + (f" ({hint})" if hint else "")
    check(value in choices, column, name, value, rule)


def check_text(column: str, name: str, value: Any) -> None:
    """Raise `data.setting` for text that would not survive a CSV file unchanged."""
    fits = isinstance(value, str) and value != "" and value.isprintable()
    rule = "a printable text without spaces at its ends"
    check(fits and value == value.strip(), column, name, value, rule)


def check_levels(column: str, name: str, levels: Any, *, exactly_two: bool) -> None:
    """Raise `data.setting` unless these are at least (or exactly) two different texts."""
    rule = f"a tuple of {'exactly' if exactly_two else 'at least'} two different texts"
    check(isinstance(levels, tuple), column, name, levels, rule)
    for level in levels:
        check_text(column, name, level)
    enough = len(levels) == 2 if exactly_two else len(levels) >= 2
    check(enough and len(set(levels)) == len(levels), column, name, levels, rule)


def check_range(column: str, low: Any, high: Any) -> None:
    """Raise `data.setting` unless low < high are finite numbers with a finite distance."""
    for name, value in (("low", low), ("high", high)):
        check(is_number(value), column, name, value, "a finite number (the public range needs it)")
    apart = low < high and math.isfinite(float(high) - float(low))
    check(apart, column, "high", high, f"a number above low = {low:g}")


def as_floats(value: Column | Label, names: tuple[str, ...]) -> None:
    """Hold numbers as floats, so that `low=18` and `low=18.0` are one schema with one digest."""
    for name in names:
        if is_number(held := getattr(value, name)):
            object.__setattr__(value, name, float(held))


def is_number(value: Any) -> bool:
    """A finite int or float; True and False are not numbers here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
