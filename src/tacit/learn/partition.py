"""Ways to split one data set among clients: every index goes to exactly one client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Examples, NamedClients

Indices = npt.NDArray[np.int64]


def iid(count: int, clients: int, key: Key) -> list[Indices]:
    """A random split of `count` records into parts whose sizes differ by at most one."""
    _check_clients(clients, count)
    shuffled = key.generator().permutation(count)
    return _sorted(np.array_split(shuffled, clients))


def quantity(count: int, clients: int, key: Key, alpha: float = 1.0) -> list[Indices]:
    """Random records, uneven sizes: shares drawn from a symmetric Dirichlet(alpha).

    Small `alpha` gives a few large clients and many small ones; each has at least one record.
    Source: Li, Diao, Chen, He 2022, "Federated Learning on Non-IID Data Silos", section 4.3
    (quantity skew).
    """
    _check_clients(clients, count)
    rng = key.generator()
    shares = rng.dirichlet(np.full(clients, _positive("alpha", alpha)))
    return _at_least_one(_cut(rng.permutation(count), shares))


def dirichlet(labels: npt.ArrayLike, clients: int, key: Key, alpha: float = 0.5) -> list[Indices]:
    """Label skew: each class is shared out by its own draw from a symmetric Dirichlet(alpha).

    Small `alpha` leaves clients with few classes, large ones approach `iid`. A client that would
    stay empty gets one record of the largest.
    Source: Yurochkin et al. 2019, "Bayesian Nonparametric Federated Learning of Neural Networks",
    section 4; Li et al. 2022, section 4.1.
    """
    labels = np.asarray(labels)
    _check_clients(clients, len(labels))
    rng = key.generator()
    parts: list[Indices] = [np.zeros(0, np.int64)] * clients
    for label in np.unique(labels):
        shares = rng.dirichlet(np.full(clients, _positive("alpha", alpha)))
        pieces = _cut(rng.permutation(np.flatnonzero(labels == label)), shares)
        parts = [np.concatenate(pair) for pair in zip(parts, pieces, strict=True)]
    return _at_least_one(parts)


def shards(labels: npt.ArrayLike, clients: int, key: Key, each: int = 2) -> list[Indices]:
    """Sort by label, cut into `clients` x `each` shards, deal `each` random shards to a client.

    Source: McMahan et al. 2017, section 3 (the pathological non-IID split, `each=2`).
    """
    labels = np.asarray(labels)
    _check_clients(clients * _positive("each", each), len(labels))
    cut = np.array_split(np.argsort(labels, kind="stable"), clients * each)
    deal = key.generator().permutation(clients * each).reshape(clients, each)
    return _sorted([np.concatenate([cut[shard] for shard in hand]) for hand in deal])


def by_column(values: npt.ArrayLike) -> list[Indices]:
    """One client for each distinct value (a hospital, a writer), in the order of `np.unique`."""
    _, inverse = np.unique(np.asarray(values), return_inverse=True)
    return [np.flatnonzero(inverse == i) for i in range(int(inverse.max(initial=-1)) + 1)]


def stratified(labels: npt.ArrayLike, fraction: float, key: Key) -> tuple[Indices, Indices]:
    """Two parts, the second with `fraction` of every class (rounded): train and test."""
    labels = np.asarray(labels)
    rng = key.generator()
    second = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        second.append(rows[: round(fraction * len(rows))])
    test = np.sort(np.concatenate(second)) if second else np.zeros(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), test), test


def split(
    examples: Examples, parts: Sequence[npt.NDArray[Any]], names: Sequence[str] | None = None
) -> NamedClients:
    """The clients that a partition describes; raises `data.parts` unless it is one."""
    given = np.concatenate([np.zeros(0, np.int64), *parts])
    times = np.bincount(given[(given >= 0) & (given < examples.count)], minlength=examples.count)
    for wrong, problem in (
        (((given < 0) | (given >= examples.count)).any(), "an index that no record has"),
        ((times > 1).any(), "a record to two clients"),
        ((times < 1).any(), "a record to no client"),
        (names is not None and len(names) != len(parts), "another number of clients than of names"),
    ):
        if wrong:
            raise TacitError("data.parts", problem=problem, last=examples.count - 1)
    called = tuple(names) if names is not None else tuple(f"client-{i}" for i in range(len(parts)))
    return NamedClients(called, tuple(examples.take(part) for part in parts))


def _cut(rows: Indices, shares: npt.NDArray[np.float64]) -> list[Indices]:
    """Consecutive pieces of `rows` in the given proportions."""
    ends = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
    return np.split(rows, ends)


def _at_least_one(parts: list[Indices]) -> list[Indices]:
    """Give each empty part one index of the largest; there are at least as many as parts."""
    parts = list(parts)
    for i in range(len(parts)):
        if not len(parts[i]):
            largest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[i], parts[largest] = parts[largest][-1:], parts[largest][:-1]
    return _sorted(parts)


def _sorted(parts: Sequence[Indices]) -> list[Indices]:
    return [np.sort(part) for part in parts]


def _check_clients(pieces: int, count: int) -> None:
    if not 1 <= pieces <= count:
        rule = f"a number of pieces from 1 to the {count} records"
        raise TacitError("task.setting", name="clients", value=pieces, rule=rule)


def _positive(name: str, value: Any) -> Any:
    if not (np.isfinite(value) and value > 0):
        raise TacitError("task.setting", name=name, value=value, rule="a positive number")
    return value
