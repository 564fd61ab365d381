"""Stores of clients' memories: both give back the bits that were put, also after a snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tacit
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.tree import flatten, unflatten
from tacit.learn.examples import as_clients
from tacit.sim.checkpoint import fingerprint
from tacit.sim.engine import run_plan
from tacit.sim.exact import Exact
from tacit.sim.memory import LARGE, InMemory, MemoryStore, OnDisk, Shelf, memory_for
from tests.sim import checkpoint_case as case

DTYPES = ("float64", "float32", "int64", "uint8", "bool", "<U3", "complex128")
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.builds(np.float32, st.floats(width=32)),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=2, min_side=0))
    ),
    st.builds(lambda n: np.asfortranarray(np.arange(2.0 * n).reshape(2, n)), st.integers(0, 3)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3),
    ),
    max_leaves=6,
)
memories = st.dictionaries(st.sampled_from(["algorithm", "personal", "0:top_k"]), trees, min_size=1)
stores = st.sampled_from([InMemory, OnDisk])


def alike(one: Any, other: Any) -> bool:
    """Equal to the bit and to the type, arrays in the same order in memory."""
    if type(one) is not type(other):
        return False
    match one:
        case np.ndarray():
            same = (one.dtype, one.shape) == (other.dtype, other.shape)
            return same and one.tobytes("A") == other.tobytes("A")
        case float() | np.generic():
            return np.asarray(one).tobytes() == np.asarray(other).tobytes()
        case dict():
            return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
        case list() | tuple():
            return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


@given(trees)
def test_a_tree_is_its_outline_and_its_leaves(tree: Any) -> None:
    assert alike(unflatten(*flatten(tree, "tree")), tree)


@pytest.mark.parametrize("odd", [object(), {1.5: 0}, {1, 2}, np.array([None]), 1 << 63, 1j])
def test_what_cannot_be_stored_is_named(odd: Any) -> None:
    with pytest.raises(TacitError, match=r"tree\['a'\]\[1\]") as caught:
        flatten({"a": [0, odd]}, "tree")
    assert caught.value.code == "run.not-storable"


def copied(shelves: list[Shelf]) -> list[Shelf]:
    """As a file would keep them."""
    return [Shelf(form, clients.copy(), np.array(rows)) for form, clients, rows in shelves]


@given(stores, stores, st.lists(st.tuples(st.integers(0, 4), memories), max_size=12))
def test_a_store_is_a_dictionary(
    kind: type[Any], other: type[Any], puts: list[tuple[int, dict[str, Any]]]
) -> None:
    store: MemoryStore = kind()
    wanted: dict[int, Any] = {}
    for client, held in puts:
        store.put(client, held)
        wanted[client] = held
    again: MemoryStore = other()
    again.put(9, {"algorithm": 1})
    again.restore(copied(store.snapshot()))
    for one in (store, again):
        assert sorted(one) == sorted(wanted) and len(one) == len(wanted)
        assert all(alike(one.get(client), held) for client, held in wanted.items())
        assert one.get(7) == {}


def test_large_populations_with_memory_are_kept_on_disk() -> None:
    assert isinstance(memory_for(1000, 1000), InMemory)
    assert isinstance(memory_for(LARGE // 1000, 1001), OnDisk)


def test_the_store_changes_no_bit_of_a_run() -> None:
    plan, key = case.federation().plan(), Key.seed(3)
    clients = as_clients(case.data())
    found = []
    for store in (InMemory(), OnDisk()):
        backend = Exact(plan, clients, key)
        backend.memories = store
        outcome = run_plan(plan, clients, key, faults=case.trouble, backend=backend)
        assert len(store) > 0
        found.append(outcome)
    assert found[0].params.tobytes() == found[1].params.tobytes()
    assert alike(found[0].models.memory(1), found[1].models.memory(1))


def test_a_run_with_large_memories_is_resumed_too(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("tacit.sim.exact.memory_for", lambda clients, each: OnDisk())
    with pytest.raises(ZeroDivisionError):
        case.simulate(tmp_path, progress=lambda row: 1 // (6 - int(row["round"])))
    again = case.simulate(tmp_path)
    monkeypatch.undo()
    assert again.model.params.tobytes() == case.simulate(None).model.params.tobytes()


def test_data_are_known_by_what_each_client_holds() -> None:
    one, two = as_clients(case.data()), as_clients(case.data(1.0))
    assert fingerprint(one) == fingerprint(as_clients(case.data())) != fingerprint(two)
    assert tacit.checkpoints("folder").every == 1
    with pytest.raises(TacitError, match="every"):
        tacit.checkpoints("folder", 0)
