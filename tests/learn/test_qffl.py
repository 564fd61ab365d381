"""q-FedAvg beside Algorithm 2 of Li et al. 2020: losses of clients come closer together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tests.learn.papers import batches, clients, federation, gradient, learned, loss, weights


@pytest.mark.parametrize("q", [0.0, 0.5, 2.0])
def test_beside_the_equations(q: float) -> None:
    data = clients()
    chain = (tacit.plain_sum(), tacit.mean())
    found = learned(tacit.qffl(lr=0.05, q=q, epochs=2, batch=4, shuffle=False), data, protect=chain)
    params = np.zeros(4)
    for _ in range(4):
        deltas, bounds = [], []
        for x, y in data.values():
            local = params.copy()
            for few in batches(x, y, 4, epochs=2):
                local -= 0.05 * gradient(local, *few)
            own, move = loss(params, x, y), (params - local) / 0.05
            deltas.append(own**q * move)
            bounds.append(q * own ** (q - 1) * (move @ move) + own**q / 0.05)
        params = params - np.sum(deltas, axis=0) / np.sum(bounds)
    assert np.allclose(found, params, atol=1e-9)


def test_with_q_zero_it_is_fedavg_under_any_weights() -> None:
    data = clients()
    one = learned(tacit.qffl(lr=0.05, q=0.0, batch=4, shuffle=False), data)
    two = learned(tacit.fedavg(lr=0.05, batch=4, shuffle=False), data)
    assert np.allclose(one, two, atol=1e-12)


def test_the_larger_q_the_closer_the_losses_of_clients() -> None:
    data = clients(apart=2.0)
    parts: Any = weights(data)

    def losses(q: float) -> Any:
        params = learned(tacit.qffl(lr=0.05, q=q, batch=0), data, 1500)
        return np.array([loss(params, x, y) for x, y in data.values()])

    plain, fair, fairer = losses(0.0), losses(1.0), losses(4.0)
    assert fairer.std() < fair.std() < plain.std()
    assert fairer.max() < fair.max() < plain.max()
    assert parts @ plain < parts @ fair, "fairness has its price in the mean"


def test_noise_needs_the_bound_on_the_normaliser_and_runs_with_it() -> None:
    data = clients()
    chain = (
        tacit.clip(1.0),
        tacit.balance(),
        tacit.plain_sum(),
        tacit.gaussian("central", multiplier=0.1),
        tacit.mean(),
    )
    with pytest.raises(tacit.Unsound, match="algorithm:normaliser"):
        federation(tacit.qffl(lr=0.05, q=1.0), data, protect=chain).plan()
    described = federation(tacit.qffl(lr=0.05, q=1.0, limit=100.0), data, protect=chain)
    assert np.isfinite(tacit.simulate(described, data).model.params).all()
