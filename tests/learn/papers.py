"""Ridge regression over clients in a few lines: what each algorithm is tested beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tacit

L2 = 0.01
Data = dict[str, tuple[Any, Any]]


def clients(count: int = 4, features: int = 3, apart: float = 2.0, seed: int = 0) -> Data:
    """Clients of unequal sizes whose linear models differ by `apart`."""
    draw = np.random.default_rng(seed)
    found = {}
    for i in range(count):
        x = draw.normal(draw.normal(size=features), 1.0, (6 + 5 * i, features))
        found[f"c{i}"] = (x, x @ draw.normal(0.0, apart, features) + draw.normal(size=len(x)))
    return found


def federation(algorithm: Any, data: Data, rounds: int = 4, **changes: Any) -> tacit.Federation:
    shape = next(iter(data.values()))[0].shape[1:]
    return tacit.Federation(
        task=tacit.numpy.ridge_regression(l2=L2),
        clients=len(data),
        data=tacit.arrays(shape=shape),
        algorithm=algorithm,
        rounds=rounds,
    ).replace(**changes)


def learned(algorithm: Any, data: Data, rounds: int = 4, **changes: Any) -> Any:
    """The model after a simulation."""
    return tacit.simulate(federation(algorithm, data, rounds, **changes), data).model.params


def gradient(params: Any, x: Any, y: Any) -> Any:
    """Of mean 0.5 (x w + b - y)^2 + l2/2 |w|^2 by (w, b)."""
    weights, bias = params[:-1], params[-1]
    error = x @ weights + bias - y
    return np.append(x.T @ error / len(y) + L2 * weights, error.mean())


def loss(params: Any, x: Any, y: Any) -> float:
    """Mean 0.5 (x w + b - y)^2."""
    return float(0.5 * ((x @ params[:-1] + params[-1] - y) ** 2).mean())


def batches(x: Any, y: Any, size: int, epochs: int = 1) -> Iterator[tuple[Any, Any]]:
    """Minibatches in order; all records where `size` is 0."""
    size = size or len(y)
    for start in [*range(0, len(y), size)] * epochs:
        yield x[start : start + size], y[start : start + size]


def weights(data: Data) -> Any:
    """Parts n_k / n of the records."""
    counts = np.array([len(y) for _, y in data.values()], float)
    return counts / counts.sum()


def optimum(data: Data, parts: Any = None) -> Any:
    """The minimum of the weighted mean of the clients' losses, by linear algebra."""
    parts = weights(data) if parts is None else parts
    size = next(iter(data.values()))[0].shape[1] + 1
    left, right = L2 * np.diag([*[1.0] * (size - 1), 0.0]), np.zeros(size)
    for part, (x, y) in zip(parts, data.values(), strict=True):
        one = np.column_stack([x, np.ones(len(y))])
        left = left + part * one.T @ one / len(y)
        right = right + part * one.T @ y / len(y)
    return np.linalg.solve(left, right)
