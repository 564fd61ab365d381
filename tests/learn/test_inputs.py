from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset as HuggingFace

import tacit
from tacit.base.errors import TacitError
from tacit.learn.column import Column, Label
from tacit.learn.examples import Examples, LateClients, NamedClients, as_clients

AGE = [40.0, 60.0, 50.0, 70.0]
DOSE = [1, 2, 3, 4]
ILL = [0, 1, 0, 1]
COLUMNS: dict[str, Any] = {"age": AGE, "dose": DOSE, "ill": ILL}
MATRIX = np.column_stack([AGE, DOSE])


def parquet(folder: Path) -> Path:
    path = folder / "north.parquet"
    pq.write_table(pa.table(COLUMNS), path)
    return path


TABLES: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda folder: pd.DataFrame(COLUMNS),
    "nullable pandas": lambda folder: pd.DataFrame(COLUMNS).convert_dtypes(),
    "arrow": lambda folder: pa.table(COLUMNS),
    "arrow batch": lambda folder: pa.RecordBatch.from_pydict(COLUMNS),
    "hugging face": lambda folder: HuggingFace.from_dict(COLUMNS),
    "dict": lambda folder: COLUMNS,
    "parquet": parquet,
    "parquet by name": lambda folder: str(parquet(folder)),
}


class Items:
    """A map-style data set that counts how often its items are taken."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.taken = items, 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.taken += 1
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


def refused(code: str, source: Any, **settings: Any) -> TacitError:
    with pytest.raises(TacitError) as caught:
        tacit.data.examples(source, client="North", **settings)
    assert caught.value.code == code
    assert "North" in caught.value.cause
    return caught.value


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_gives_the_columns_but_for_the_label(kind: str, tmp_path: Path) -> None:
    x, y = tacit.data.examples(TABLES[kind](tmp_path), label="ill")
    assert np.array_equal(x, MATRIX)
    assert y.tolist() == ILL
    assert y.dtype.kind == "i"


@pytest.mark.parametrize("kind", TABLES)
def test_features_choose_columns_and_their_order(kind: str, tmp_path: Path) -> None:
    x, _ = tacit.data.examples(TABLES[kind](tmp_path), features=["dose", "age"], label="ill")
    assert np.array_equal(x, MATRIX[:, ::-1])


@pytest.mark.parametrize("kind", TABLES)
def test_a_schema_encodes_a_table_of_any_kind_alike(kind: str, tmp_path: Path) -> None:
    schema = tacit.Schema(
        (Column("age", low=0, high=100), Column("dose", low=0, high=10)),
        Label("ill", low=0, high=1, above=0),
    )
    wanted = schema.encode(COLUMNS, "North")
    found = tacit.data.examples(TABLES[kind](tmp_path), schema=schema)
    assert np.array_equal(found.x, wanted.x)
    assert np.array_equal(found.y, wanted.y)


@pytest.mark.parametrize(
    "table", [pa.table, HuggingFace.from_dict, pd.DataFrame], ids=["arrow", "hf", "pandas"]
)
def test_a_column_of_arrays_keeps_their_shape(table: Any) -> None:
    held = table({"image": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "y": [True, False]})
    for features in ("image", None):
        x, y = tacit.data.examples(held, features=features, label="y")
        assert x.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert y.tolist() == [1, 0]


def test_memory_maps_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(4, 3))
    np.save(tmp_path / "y.npy", np.arange(4))
    x, y = (np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy"))
    held = as_clients({"North": (x, y)})
    assert isinstance(held, NamedClients)
    assert np.shares_memory(held.held[0].x, x)
    assert np.shares_memory(held.held[0].y, y)
    assert not held.held[0].x.flags.writeable


def test_tensors_and_pairs_with_a_label_name_are_read() -> None:
    x, y = tacit.data.examples((torch.ones(3, 2), torch.tensor([0, 1, 0])))
    assert x.shape == (3, 2)
    assert y.tolist() == [0, 1, 0]
    x, y = tacit.data.examples((pd.DataFrame(COLUMNS), "ill"))
    assert np.array_equal(x, MATRIX)
    x, y = tacit.data.examples((pd.DataFrame(COLUMNS)[["age"]], ILL))
    assert x.tolist() == [[value] for value in AGE]
    assert tacit.data.examples(Examples(x, y)).x is x


def test_a_table_with_columns_x_and_y_is_still_a_table() -> None:
    x, y = tacit.data.examples(pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}), label="y")
    assert x.tolist() == [[1.0], [2.0]]
    assert y.tolist() == [0, 1]


def test_mistakes_with_tables_name_client_and_column(tmp_path: Path) -> None:
    table = pd.DataFrame({**COLUMNS, "town": list("abca")})
    assert "age, dose, ill, town" in refused("data.no-label", table).cause
    assert "'dose'" in refused("data.no-column", table, features=["doze"], label="ill").remedy
    assert "town holds text" in refused("data.not-numbers", table, label="ill").cause
    missing = pd.DataFrame({"age": [1, None], "ill": [0, 1]}, dtype=object)
    assert "age" in refused("data.not-numbers", missing, label="ill").cause
    ragged = pa.table({"image": [[1.0], [2.0, 3.0]], "y": [0, 1]})
    assert "image" in refused("data.not-numbers", ragged, label="y").cause
    assert "gone.parquet" in refused("data.parquet", tmp_path / "gone.parquet", label="y").cause
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    refused("data.parquet", tmp_path / "bad.parquet", label="y")
    refused("data.lengths-differ", ([1, 2, 3], [0, 1]))
    for unknown in (3, np.ones((2, 2)), iter([(1, 0)])):
        refused("data.unknown-source", unknown)


def test_a_data_set_by_index_is_taken_once_and_late() -> None:
    held = {"North": Items([(np.ones(2), 0), (np.zeros(2), 1)]), "South": Items([([3.0, 4.0], 1)])}
    clients = as_clients(held)
    assert isinstance(clients, LateClients)
    assert (len(clients), clients.name(1)) == (2, "South")
    assert held["North"].taken == 0
    for _ in range(3):
        assert clients.examples(0).x.tolist() == [[1, 1], [0, 0]]
    assert held["North"].taken == 2
    assert held["South"].taken == 0
    assert clients.examples(1).y.tolist() == [1]


def test_torch_data_sets_and_items_by_name_are_read() -> None:
    whole = torch.utils.data.TensorDataset(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1]))
    x, y = tacit.data.examples(torch.utils.data.Subset(whole, [2, 0]))
    assert x.tolist() == [[4, 5], [0, 1]]
    assert y.tolist() == [1, 0]
    named = Items([{"pixels": [1.0, 2.0], "digit": 7}])
    x, y = tacit.data.examples(named, features="pixels", label="digit")
    assert (x.tolist(), y.tolist()) == ([[1.0, 2.0]], [7])


def test_an_item_that_fails_is_named_with_its_client() -> None:
    broken = Items([([1.0], 0), ([2.0], 1), OSError("no such picture")])
    error = refused("data.item", broken)
    assert "index 2: OSError: no such picture" in error.cause
    assert isinstance(error.__cause__, OSError)
    odd = refused("data.item-shape", Items([([1.0], 0), ([1.0, 2.0], 0)]))
    assert "item 1" in odd.cause
    refused("data.empty", Items([]))
    refused("data.item", Items([([1.0], 0, "a third thing")]))


def test_clients_take_tables_through_the_contract_if_it_is_a_schema() -> None:
    schema = tacit.Schema((Column("age", low=0, high=100),), Label("ill", low=0, high=1, above=0))
    found = as_clients({"North": pd.DataFrame(COLUMNS), "South": COLUMNS}, schema)
    assert isinstance(found, NamedClients)
    for _, held in found:
        assert np.allclose(held.x, [[-0.2], [0.2], [0.0], [0.4]])
    pair = (np.zeros((1, 1)), np.zeros(1))
    assert as_clients([pair], schema).examples(0).count == 1
    assert as_clients([pair], tacit.arrays(shape=(1,))).examples(0).count == 1


def federation(clients: int, **settings: Any) -> tacit.Federation:
    return tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(2,), classes=2),
        algorithm=tacit.fedavg(lr=0.1, batch=2),
        clients=clients,
        rounds=2,
        **settings,
    )


def test_tables_and_arrays_learn_the_same_model() -> None:
    frame = pd.DataFrame(COLUMNS)
    arrays = {"North": (MATRIX, np.array(ILL)), "South": (MATRIX[:2], np.array(ILL[:2]))}
    tables = {"North": (frame, "ill"), "South": (pa.table(frame[:2]), "ill")}
    items = {name: Items(list(zip(*held, strict=True))) for name, held in arrays.items()}
    wanted = tacit.simulate(federation(2), arrays).model.params
    for data in (tables, items, tacit.data.clients({"a": frame, "b": frame[:2]}, label="ill")):
        assert np.array_equal(tacit.simulate(federation(2), data).model.params, wanted)


def test_a_client_whose_data_set_fails_is_dropped_and_named_and_the_mean_is_of_the_others() -> None:
    good = (MATRIX, np.array(ILL))
    broken = Items([([1.0, 1.0], 0), RuntimeError("disk")])
    data = {"North": Items(list(zip(*good, strict=True))), "South": broken}
    run = tacit.simulate(federation(2, quorum=1), data)
    (first, *_) = run.problems
    assert first.client == "South"
    assert "index 1" in first.error.cause
    alone = tacit.simulate(federation(1), {"North": good})
    assert np.allclose(run.model.params, alone.model.params)
