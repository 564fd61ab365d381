"""SCAFFOLD beside Algorithm 1 (option II) of Karimireddy et al. 2020: no client drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Aggregate
from tacit.learn.examples import Examples, as_clients
from tacit.learn.local import Home
from tacit.sim.engine import run_plan
from tests.learn.papers import clients, federation, gradient, learned, optimum

UNIFORM = (tacit.plain_sum(), tacit.mean())


def reference(data: dict[str, tuple[Any, Any]], cohorts: list[list[int]], lr: float) -> Any:
    """With two vectors in the message, as in the paper: dy_i and dc_i."""
    held, size = list(data.values()), 4
    x, c = np.zeros(size), np.zeros(size)
    own = np.zeros((len(held), size))
    for cohort in cohorts:
        moves, shifts = [], []
        for i in cohort:
            y = x.copy()
            for _ in range(5):
                y -= lr * (gradient(y, *held[i]) - own[i] + c)
            new = own[i] - c + (x - y) / (5 * lr)
            moves.append(y - x)
            shifts.append(new - own[i])
            own[i] = new
        x = x + 0.9 * np.mean(moves, axis=0)
        c = c + len(cohort) / len(held) * np.mean(shifts, axis=0)
    return x


def test_beside_the_equations_with_every_client() -> None:
    data = clients()
    found = learned(
        tacit.scaffold(lr=0.1, steps=5, batch=0, server_lr=0.9), data, 6, protect=UNIFORM
    )
    assert np.allclose(found, reference(data, [[0, 1, 2, 3]] * 6, 0.1), atol=1e-9)


def test_beside_the_equations_with_half_of_the_clients() -> None:
    data = clients()
    described = federation(
        tacit.scaffold(lr=0.1, steps=5, batch=0, server_lr=0.9),
        data,
        8,
        protect=UNIFORM,
        cohort=tacit.fixed(2),
    )
    key = Key.seed(3)
    cohorts = [list(described.cohort.draw(4, key / "cohort" / r)) for r in range(8)]
    assert len({tuple(cohort) for cohort in cohorts}) > 2
    outcome = run_plan(described.plan(), as_clients(data), key)
    assert np.allclose(outcome.params, reference(data, cohorts, 0.1), atol=1e-9)


@pytest.mark.parametrize("chain", [UNIFORM, tacit.plain()])
def test_many_local_steps_reach_the_optimum_that_fedavg_misses(chain: Any) -> None:
    data = clients(apart=5.0)
    best = optimum(data, None if chain != UNIFORM else np.full(4, 0.25))
    steps: dict[str, Any] = {"lr": 0.05, "steps": 20, "batch": 0}
    found = learned(tacit.scaffold(**steps), data, 600, protect=chain)
    drifted = learned(tacit.fedavg(**steps), data, 600, protect=chain)
    assert np.allclose(found, best, atol=1e-6)
    assert np.linalg.norm(drifted - best) > 0.1


def test_the_mean_control_is_the_coordinators_though_no_control_is_sent() -> None:
    data = clients()
    plan = federation(tacit.scaffold(lr=0.1, steps=3, batch=2), data).plan()
    state = plan.algorithm.start(np.zeros(4))
    own: list[Any] = [None] * 4
    for turn in range(5):
        updates = []
        for i, held in enumerate(data.values()):
            home = Home(plan.task, Examples(*held), Key.seed(turn) / i)
            found, own[i] = plan.algorithm.visit(plan.algorithm.offer(state), own[i], home)
            updates.append(found.update)
        mean = Aggregate(np.mean(updates, axis=0), {}, 4, 4)
        state = plan.algorithm.apply(state, mean, plan.task.layout)
        assert np.allclose(state["control"], np.mean(own, axis=0), atol=1e-12)
    assert np.abs(state["control"]).max() > 0.1


def test_only_one_vector_goes_up_and_two_go_down() -> None:
    data = clients()
    plan = federation(tacit.scaffold(lr=0.1, steps=3), data).plan()
    plain = federation(tacit.fedavg(lr=0.1), data).plan()
    assert plan.cost.up == plain.cost.up
    assert plan.cost.down == 2 * plain.cost.down


@pytest.mark.parametrize(
    "chain",
    [
        (tacit.clip(1.0), tacit.gaussian("local", "record", multiplier=1.0)),
        tacit.record_dp(3.0, 1e-5, 1.0),
    ],
)
@pytest.mark.parametrize(
    "algorithm", [tacit.scaffold(lr=0.1, steps=3), tacit.feddyn(lr=0.1, alpha=0.1)]
)
def test_memory_of_raw_gradients_is_refused_where_records_are_protected(
    chain: Any, algorithm: Any
) -> None:
    with pytest.raises(tacit.Unsound) as caught:
        federation(algorithm, clients(), protect=chain).plan()
    assert caught.value.code in ("chain.noise-memory", "chain.records-need-one-step")
    if len(chain) == 2:
        assert caught.value.code == "chain.noise-memory"
        assert "algorithm" in caught.value.cause and "client" in caught.value.remedy


def test_under_client_level_noise_memory_is_fine() -> None:
    chain = tacit.central_dp(8.0, 1e-5, 1.0)
    run = tacit.simulate(
        federation(tacit.scaffold(lr=0.1, steps=3), clients(), protect=chain), clients()
    )
    assert np.isfinite(run.model.params).all()
