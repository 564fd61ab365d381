from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client import datasets
from tacit.deploy.client.datasets import Shelf, Source
from tacit.deploy.client.home import Home
from tacit.learn.data import Column, Label, Schema, heart_disease
from tacit.plan.federation import Federation

SCHEMA = Schema(
    (Column("age", low=0, high=100), Column("sex", "category", categories=("f", "m"))),
    Label("grade", low=0, high=4, above=0),
)
TABLE = "alter;sex;grade\n50;f;0\n70;m;2\n30;m;1\n"
MAPPING = '[file]\ndelimiter = ";"\n[columns.age]\nfrom = "alter"\n'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make_folders()
    return home


@pytest.fixture
def table(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "table.csv").write_text(TABLE)
    (tmp_path / "mapping.toml").write_text(MAPPING)
    return str(tmp_path / "table.csv"), str(tmp_path / "mapping.toml")


def code(caught: pytest.ExceptionInfo[TacitError]) -> str:
    return caught.value.code


def test_a_table_with_a_mapping_is_read_through_the_schema(
    home: Home, table: tuple[str, str]
) -> None:
    added = datasets.add(home, "heart 2024", *table)
    assert datasets.registered(home) == {"heart 2024": added}
    held = datasets.load(home, "heart 2024", SCHEMA, "Ghent")
    np.testing.assert_allclose(held.x, [[0.0, 0.0], [0.4, 1.0], [-0.4, 1.0]])
    np.testing.assert_array_equal(held.y, [0, 1, 1])
    assert datasets.paths(added) == tuple(map(Path, table))
    assert datasets.check(home, "heart 2024", SCHEMA) == ()


def test_paths_are_kept_absolute(
    home: Home, table: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(table[0]).parent)
    added = datasets.add(home, "t", "table.csv", "mapping.toml")
    assert (added.source, added.mapping) == table


def test_mismatches_are_all_shown_at_home_and_the_first_without_cells_elsewhere(
    home: Home, table: tuple[str, str]
) -> None:
    Path(table[0]).write_text(TABLE + "secret-age;x;1\n")
    datasets.add(home, "t", *table)
    found = datasets.check(home, "t", SCHEMA, "Ghent")
    assert {error.code for error in found} == {"data.not-a-number", "data.unknown-category"}
    assert any("secret-age" in str(error) for error in found)
    with pytest.raises(TacitError) as caught:
        datasets.load(home, "t", SCHEMA, "Ghent")
    assert code(caught) == "data.not-a-number"
    assert "secret-age" not in str(caught.value)
    assert "Ghent" in str(caught.value)


def test_a_parquet_file_with_and_without_a_schema(home: Home, tmp_path: Path) -> None:
    columns = {"age": [50.0, 70.0], "sex": ["f", "m"], "grade": [0, 2]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    datasets.add(home, "a", str(tmp_path / "a.parquet"))
    np.testing.assert_allclose(datasets.load(home, "a", SCHEMA).x, [[0.0, 0.0], [0.4, 1.0]])
    pq.write_table(pa.table({"u": [0.5, 1.0], "v": [2.0, 3.0], "y": [0, 1]}), tmp_path / "b.pq")
    datasets.add(home, "b", str(tmp_path / "b.pq"), label="y")
    held = datasets.load(home, "b", tacit.arrays((2,), classes=2))
    np.testing.assert_array_equal(held.x, [[0.5, 2.0], [1.0, 3.0]])


def test_arrays_in_a_file_are_checked_against_the_contract(home: Home, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)), y=np.array([0, 1, 1]))
    datasets.add(home, "a", str(tmp_path / "a.npz"))
    assert datasets.load(home, "a", tacit.arrays((2,), classes=2)).count == 3
    assert datasets.load(home, "a", None).count == 3
    (error,) = datasets.check(home, "a", tacit.arrays((5,), classes=2))
    assert error.code == "data.shape"


def test_objects_in_an_array_file_are_never_unpickled(home: Home, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(TacitError) as caught:
        datasets.add(home, "a", str(tmp_path / "a.npz"))
    assert code(caught) == "dataset.npz"
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(TacitError) as caught:
        datasets.add(home, "b", str(tmp_path / "b.npz"))
    assert code(caught) == "dataset.npz"
    assert datasets.registered(home) == {}


def test_a_bundled_set_is_one_clients_training_records(home: Home) -> None:
    whole = heart_disease()
    datasets.add(home, "rehearsal", "heart_disease:Long Beach")
    held = datasets.load(home, "rehearsal", whole.schema)
    expected = whole.train.examples(whole.names.index("Long Beach"))
    np.testing.assert_array_equal(held.x, expected.x)
    np.testing.assert_array_equal(held.y, expected.y)
    with pytest.raises(TacitError, match="Zurich") as caught:
        datasets.add(home, "other", "heart_disease:Atlantis")
    assert code(caught) == "dataset.source"


def test_a_function_of_the_owners(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owners_data.py").write_text(
        "def rows():\n    return {'age': [50], 'sex': ['m'], 'grade': [0]}\n"
        "def broken():\n    raise RuntimeError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    added = datasets.add(home, "mine", "owners_data:rows", reads=(str(tmp_path),))
    assert datasets.paths(added) == (tmp_path,)
    assert datasets.registered(home)["mine"] == added
    np.testing.assert_allclose(datasets.load(home, "mine", SCHEMA).x, [[0, 1]])
    with pytest.raises(TacitError) as caught:
        datasets.add(home, "broken", "owners_data:broken")
    assert code(caught) == "task.code-fails"


@pytest.mark.parametrize("name", ["", "../x", "a/b", " a", ".hidden", "a\n", "x" * 101])
def test_names_that_would_be_no_names_elsewhere_are_refused(home: Home, name: str) -> None:
    with pytest.raises(TacitError) as caught:
        datasets.add(home, name, "heart_disease:Zurich")
    assert code(caught) == "dataset.name"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("table.xlsx", "dataset.source"),
        ("missing.csv", "data.file"),
        ("missing.npz", "dataset.npz"),
    ],
)
def test_what_cannot_be_read_is_not_registered(home: Home, source: str, expected: str) -> None:
    with pytest.raises(TacitError) as caught:
        datasets.add(home, "t", source)
    assert code(caught) == expected
    assert not home.datasets.exists()


def test_a_path_is_no_name(home: Home, table: tuple[str, str]) -> None:
    datasets.add(home, "known", *table)
    with pytest.raises(TacitError) as caught:
        datasets.load(home, table[0], SCHEMA)
    assert code(caught) == "dataset.unknown"
    assert "known" not in caught.value.facts.values()


def test_a_mapping_that_is_gone_is_named(home: Home, table: tuple[str, str]) -> None:
    datasets.add(home, "t", *table)
    Path(table[1]).unlink()
    (error,) = datasets.check(home, "t", SCHEMA)
    assert (error.code, error.facts["file"]) == ("description.file", "mapping.toml")


def test_a_csv_file_needs_a_schema(home: Home, table: tuple[str, str]) -> None:
    datasets.add(home, "t", *table)
    (error,) = datasets.check(home, "t", tacit.arrays((2,), classes=2))
    assert error.code == "dataset.no-schema"


def test_a_mistake_in_the_file_is_named_with_its_line(home: Home) -> None:
    home.datasets.write_text('[a]\nsource = "x:y"\nmaping = "z"\n')
    with pytest.raises(TacitError, match=r"datasets.toml, line 3"):
        datasets.find(home, "a")
    home.datasets.write_bytes(b"\xff")
    with pytest.raises(TacitError) as caught:
        datasets.find(home, "a")
    assert code(caught) == "description.file"


def test_data_are_read_once_and_again_when_the_file_has_changed(table: tuple[str, str]) -> None:
    plan = Federation(
        tacit.numpy.logistic_regression(),
        clients=3,
        algorithm=tacit.fedavg(lr=0.1),
        data=SCHEMA,
    ).plan()
    shelf = Shelf()
    shelf.put("t", Source(*table), "Ghent")
    first = shelf.held("t", plan)
    assert shelf.held("t", plan) is first
    Path(table[0]).write_text(TABLE + "10;f;4\n")
    second = shelf.held("t", plan)
    assert (first.count, second.count) == (3, 4)
    later = Path(table[0]).stat().st_mtime_ns + 10**9
    os.utime(table[0], ns=(later, later))
    third = shelf.held("t", plan)
    assert third is not second
    regression = Schema(SCHEMA.columns, Label("grade", low=0, high=4))
    other = plan.federation.replace(data=regression)
    assert shelf.held("t", other.plan()).y.dtype.kind == "f"
