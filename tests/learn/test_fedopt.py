"""FedAdagrad, FedAdam and FedYogi beside Algorithm 2 of Reddi et al. 2021, and on sparse data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tests.learn.papers import batches, clients, gradient, learned, weights


def second_moment(name: str, v: Any, square: Any) -> Any:
    if name == "fedadagrad":
        return v + square
    if name == "fedadam":
        return 0.99 * v + 0.01 * square
    return v - 0.01 * square * np.sign(v - square)


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_beside_the_equations(name: str) -> None:
    data = clients()
    make = getattr(tacit, name)
    found = learned(
        make(lr=0.05, server_lr=0.2, epochs=2, batch=4, beta1=0.8, tau=0.1, shuffle=False), data
    )
    params, m = np.zeros(4), np.zeros(4)
    v = np.full(4, 0.1**2)
    for _ in range(4):
        mean = np.zeros(4)
        for part, (x, y) in zip(weights(data), data.values(), strict=True):
            local = params.copy()
            for few in batches(x, y, 4, epochs=2):
                local -= 0.05 * gradient(local, *few)
            mean += part * (local - params)
        m = 0.8 * m + 0.2 * mean
        v = second_moment(name, v, mean**2)
        params = params + 0.2 * m / (np.sqrt(v) + 0.1)
    assert np.allclose(found, params, atol=1e-9)


def sparse() -> tuple[dict[str, tuple[Any, Any]], Any]:
    """Feature j is seen with probability 4^-j, as words are; the rare ones matter as much."""
    draw = np.random.default_rng(1)
    truth = np.array([1.0, -1.0, 1.0, -1.0])
    found = {}
    for i in range(10):
        x = (draw.random((200, 4)) < 4.0 ** -np.arange(4)).astype(float)
        found[f"c{i}"] = (x, x @ truth + 0.01 * draw.normal(size=200))
    return found, truth


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_adaptive_steps_learn_rare_features_sooner_than_fedavg(name: str) -> None:
    data, truth = sparse()
    rate = 0.3 if name == "fedadagrad" else 0.1
    adaptive = learned(getattr(tacit, name)(lr=0.1, server_lr=rate, batch=0), data, rounds=60)
    plain = learned(tacit.fedavg(lr=0.1, batch=0), data, rounds=60)
    rare = slice(2, 4)
    error, plain_error = (np.abs(w[:4] - truth)[rare].max() for w in (adaptive, plain))
    assert error < 0.5 * plain_error
