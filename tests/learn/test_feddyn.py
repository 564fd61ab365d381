"""FedDyn beside Algorithm 1 of Acar et al. 2021: local optima agree with the global one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.sim.engine import run_plan
from tests.learn.papers import Data, batches, clients, federation, gradient, learned, optimum

UNIFORM = (tacit.plain_sum(), tacit.mean())


def reference(data: Data, cohorts: list[list[int]]) -> Any:
    held, alpha = list(data.values()), 0.3
    theta, h = np.zeros(4), np.zeros(4)
    own = np.zeros((len(held), 4))
    for cohort in cohorts:
        found = []
        for k in cohort:
            local = theta.copy()
            for few in batches(*held[k], 4, epochs=3):
                local -= 0.05 * (gradient(local, *few) - own[k] + alpha * (local - theta))
            own[k] -= alpha * (local - theta)
            found.append(local)
        h = h - alpha / len(held) * sum(local - theta for local in found)
        theta = np.mean(found, axis=0) - h / alpha
    return theta


@pytest.mark.parametrize("size", [4, 2])
def test_beside_the_equations(size: int) -> None:
    data, key = clients(), Key.seed(3)
    described = federation(
        tacit.feddyn(lr=0.05, alpha=0.3, epochs=3, batch=4, shuffle=False),
        data,
        8,
        protect=UNIFORM,
        cohort=tacit.fixed(size),
    )
    cohorts = [list(described.cohort.draw(4, key / "cohort" / r)) for r in range(8)]
    outcome = run_plan(described.plan(), as_clients(data), key)
    assert np.allclose(outcome.params, reference(data, cohorts), atol=1e-9)


def test_many_local_steps_reach_the_optimum_that_fedavg_and_fedprox_miss() -> None:
    data = clients(apart=5.0)
    best = optimum(data)
    steps: dict[str, Any] = {"lr": 0.05, "steps": 60, "batch": 0}
    found = learned(tacit.feddyn(alpha=0.5, **steps), data, 200)
    assert np.allclose(found, best, atol=1e-6)
    for other in (tacit.fedavg(**steps), tacit.fedprox(mu=0.5, **steps)):
        assert np.linalg.norm(learned(other, data, 200) - best) > 0.1
