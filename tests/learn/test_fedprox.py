"""FedProx beside Algorithm 2 of Li et al. 2020: less drift, and the step between rounds bounded."""

from __future__ import annotations

import numpy as np

import tacit
from tests.learn.papers import batches, clients, gradient, learned, optimum, weights


def test_beside_the_equations() -> None:
    data = clients()
    found = learned(tacit.fedprox(lr=0.05, mu=0.7, epochs=3, batch=4, shuffle=False), data)
    params = np.zeros(4)
    for _ in range(4):
        mean = np.zeros(4)
        for part, (x, y) in zip(weights(data), data.values(), strict=True):
            local = params.copy()
            for few in batches(x, y, 4, epochs=3):
                local -= 0.05 * (gradient(local, *few) + 0.7 * (local - params))
            mean += part * local
        params = mean
    assert np.allclose(found, params, atol=1e-9)


def test_without_its_term_it_is_fedavg() -> None:
    data = clients()
    one = learned(tacit.fedprox(lr=0.05, mu=0.0, batch=4), data)
    assert np.array_equal(one, learned(tacit.fedavg(lr=0.05, batch=4), data))


def test_the_proximal_term_brings_the_fixed_point_nearer_to_the_pooled_optimum() -> None:
    data = clients(apart=5.0)
    best = optimum(data)

    def distance(mu: float) -> float:
        found = learned(tacit.fedprox(lr=0.05, mu=mu, steps=100, batch=0), data, rounds=100)
        return float(np.linalg.norm(found - best))

    assert distance(4.0) < 0.5 * distance(1.0) < 0.5 * distance(0.0)
