from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.column import Column, Label
from tacit.learn.mock import as_csv, mock_table
from tacit.learn.schema import Schema
from tacit.learn.table import FileFormat, read_table
from tests.learn.strategies import schemas


@given(schemas(), st.integers(1, 30), st.integers(0, 9))
def test_fake_rows_of_any_schema_pass_the_check_through_a_file(
    schema: Schema, rows: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fake.csv"
        path.write_text(as_csv(mock_table(schema, rows, Key.seed(seed))), "utf-8")
        table = read_table(path, FileFormat(), "fake")
    assert len(table) == rows
    assert schema.mismatches(table, None, "fake") == ()


def test_fake_numbers_are_uniform_over_the_public_range_and_levels_are_all_used() -> None:
    schema = Schema(
        (Column("x", low=-3, high=5), Column("c", "category", categories=("a", "b", "c"))),
        Label("y", low=0, high=1),
    )
    table = mock_table(schema, 3000, Key.seed(0))
    numbers = sorted(map(float, table["x"]))
    # Kolmogorov-Smirnov: the largest gap between the empirical and the uniform distribution.
    gap = max(abs((i + 1) / 3000 - (x + 3) / 8) for i, x in enumerate(numbers))
    assert gap < 1.63 / 3000**0.5
    assert all(900 < table["c"].count(level) < 1100 for level in "abc")


def test_the_same_seed_gives_the_same_rows_whatever_other_columns_there_are() -> None:
    x, y = Column("x", low=0, high=1), Label("y", low=0, high=1)
    one = mock_table(Schema((x,), y), 10, Key.seed(1))
    more = mock_table(Schema((Column("z", low=0, high=1), x), y), 10, Key.seed(1))
    assert one == {name: more[name] for name in ("x", "y")}
    assert more["x"] != more["z"]
    assert one != mock_table(Schema((x,), y), 10, Key.seed(2))


def test_no_rows_are_refused() -> None:
    schema = Schema((Column("x", low=0, high=1),), Label("y", low=0, high=1))
    with pytest.raises(TacitError, match="rows") as caught:
        mock_table(schema, 0, Key.seed(0))
    assert caught.value.code == "task.setting"
