from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.learn.partition import by_column, dirichlet, iid, quantity, shards, split, stratified

Partition = Callable[[Any, int, Key], list[Any]]

PARTITIONS: dict[str, Partition] = {
    "iid": lambda labels, clients, key: iid(len(labels), clients, key),
    "quantity": lambda labels, clients, key: quantity(len(labels), clients, key, alpha=0.2),
    "dirichlet": lambda labels, clients, key: dirichlet(labels, clients, key, alpha=0.1),
    "shards": lambda labels, clients, key: shards(labels, clients, key, each=1),
}


@pytest.mark.parametrize("name", PARTITIONS)
@given(data=st.data())
def test_every_index_goes_to_exactly_one_client_and_nobody_is_empty(
    name: str, data: st.DataObject
) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=60)))
    clients = data.draw(st.integers(1, len(labels)))
    key = Key.seed(data.draw(st.integers(0, 99)))
    parts = PARTITIONS[name](labels, clients, key)
    assert len(parts) == clients
    assert all(len(part) for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    again = PARTITIONS[name](labels, clients, key)
    assert [part.tolist() for part in parts] == [part.tolist() for part in again]


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_by_column_gives_each_value_its_own_client(values: list[str]) -> None:
    parts = by_column(values)
    assert [sorted({values[i] for i in part}) for part in parts] == [
        [v] for v in sorted(set(values))
    ]
    assert sorted(i for part in parts for i in part) == list(range(len(values)))


@given(st.lists(st.integers(0, 3), max_size=80), st.floats(0, 1))
def test_stratified_takes_the_fraction_of_every_class(labels: list[int], fraction: float) -> None:
    train, test = stratified(labels, fraction, Key.seed(3))
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in set(labels):
        assert sum(labels[i] == label for i in test) == round(fraction * labels.count(label))


def test_iid_sizes_differ_by_at_most_one_and_order_is_random() -> None:
    parts = iid(103, 10, Key.seed(0))
    assert {len(part) for part in parts} == {10, 11}
    assert parts[0].tolist() != list(range(len(parts[0])))
    assert parts[0].tolist() != iid(103, 10, Key.seed(1))[0].tolist()


def _class_variance(parts: list[Any], labels: Any) -> float:
    """The mean variance, over clients, of the share of a class that a client holds."""
    held = np.array([np.bincount(labels[part], minlength=4) for part in parts])
    return float((held / held.sum(axis=0)).var(axis=0).mean())


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_dirichlet_shares_have_the_variance_of_their_law(alpha: float) -> None:
    labels = np.repeat(np.arange(4), 2000)
    found = [_class_variance(dirichlet(labels, 10, Key.seed(s), alpha), labels) for s in range(60)]
    # Dirichlet(alpha, ..., alpha) over k: a share has variance (k - 1) / (k^2 (k alpha + 1)).
    expected = 9 / (100 * (10 * alpha + 1))
    assert abs(np.mean(found) / expected - 1) < 0.15


def test_quantity_is_uneven_for_a_small_alpha_and_even_for_a_large_one() -> None:
    for alpha in (0.3, 100.0):
        sizes = np.array(
            [[len(p) for p in quantity(5000, 8, Key.seed(s), alpha)] for s in range(200)]
        )
        expected = 7 / (64 * (8 * alpha + 1))
        assert abs((sizes / 5000).var() / expected - 1) < 0.2


def test_two_shards_give_at_most_two_classes_when_shards_divide_them() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))
    parts = shards(labels, 50, Key.seed(0))
    assert {len(part) for part in parts} == {20}
    assert max(len(set(labels[part])) for part in parts) == 2


@pytest.mark.parametrize("name", PARTITIONS)
@pytest.mark.parametrize("clients", [0, 4])
def test_more_clients_than_records_or_none_are_refused(name: str, clients: int) -> None:
    with pytest.raises(TacitError, match="clients") as caught:
        PARTITIONS[name](np.array([0, 1, 0]), clients, Key.seed(0))
    assert caught.value.code == "task.setting"


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_a_concentration_must_be_positive(alpha: float) -> None:
    with pytest.raises(TacitError, match="alpha"):
        dirichlet([0, 1], 2, Key.seed(0), alpha)
    with pytest.raises(TacitError, match="alpha"):
        quantity(2, 2, Key.seed(0), alpha)


EXAMPLES = Examples(np.arange(12).reshape(6, 2), np.arange(6))


def test_split_gives_named_clients() -> None:
    clients = split(EXAMPLES, [np.array([0, 5]), np.array([1, 2, 3, 4])], ["a", "b"])
    assert clients.names == ("a", "b")
    assert clients.examples(0).x.tolist() == [[0, 1], [10, 11]]
    assert clients.examples(1).y.tolist() == [1, 2, 3, 4]
    assert split(EXAMPLES, iid(6, 3, Key.seed(0))).names == ("client-0", "client-1", "client-2")


@pytest.mark.parametrize(
    ("parts", "names", "said"),
    [
        ([[0, 1, 2], [2, 3, 4, 5]], None, "a record to two clients"),
        ([[0, 1, 2], [3, 4]], None, "a record to no client"),
        ([[0, 1, 2], [3, 4, 5, 6]], None, "an index that no record has"),
        ([[0, 1, 2], [3, 4, 5, -1]], None, "an index that no record has"),
        ([[0, 1, 2], [3, 4, 5]], ["a"], "another number of clients than of names"),
    ],
)
def test_split_refuses_what_is_not_a_partition(
    parts: list[list[int]], names: list[str] | None, said: str
) -> None:
    with pytest.raises(TacitError, match=said) as caught:
        split(EXAMPLES, [np.array(part) for part in parts], names)
    assert caught.value.code == "data.parts"
