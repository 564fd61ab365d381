"""FedNova beside its equations (Wang et al. 2020): unequal steps no longer shift the objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tacit
from tacit.learn.fednova import gradients
from tests.learn.papers import Data, batches, clients, federation, gradient, learned, optimum
from tests.learn.papers import weights as parts_of


def vector_a(steps: int, momentum: float) -> Any:
    """a_i of SGD with momentum, from the paper's section 4: how much each gradient counts."""
    return [(1 - momentum**left) / (1 - momentum) for left in range(steps, 0, -1)]


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_beside_the_equations(momentum: float) -> None:
    data = clients()
    found = learned(
        tacit.fednova(lr=0.02, epochs=2, batch=4, local_momentum=momentum, shuffle=False), data
    )
    params = np.zeros(4)
    for _ in range(4):
        direction, effective = np.zeros(4), 0.0
        for part, (x, y) in zip(parts_of(data), data.values(), strict=True):
            local, seen = params.copy(), []
            velocity = np.zeros(4)
            for few in batches(x, y, 4, epochs=2):
                seen.append(gradient(local, *few))
                velocity = momentum * velocity + seen[-1]
                local = local - 0.02 * velocity
            a = np.array(vector_a(len(seen), momentum))
            direction += part * (np.array(seen).T @ a) / a.sum()
            effective += part * a.sum()
        params = params - 0.02 * effective * direction
    assert np.allclose(found, params, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_the_gradients_in_an_answer_are_the_sum_of_the_papers_vector(momentum: float) -> None:
    for steps in (1, 2, 17):
        assert gradients(steps, momentum) == pytest.approx(sum(vector_a(steps, momentum)))


def test_with_equal_steps_it_is_fedavg() -> None:
    data = clients()
    settings: dict[str, Any] = {"lr": 0.05, "batch": 0, "epochs": 5}
    one, two = (learned(make(**settings), data) for make in (tacit.fednova, tacit.fedavg))
    assert np.allclose(one, two, atol=1e-12)


def test_the_inconsistency_of_fedavg_under_unequal_steps_is_gone() -> None:
    """A small lr leaves the objective's shift and little drift: FedAvg's own limit is its bias."""
    data = uneven()
    best = optimum(data, np.full(2, 0.5))
    chain = (tacit.plain_sum(), tacit.mean())
    settings: dict[str, Any] = {"lr": 0.01, "batch": 10}
    nova = learned(tacit.fednova(**settings), data, 400, protect=chain)
    plain = learned(tacit.fedavg(**settings), data, 400, protect=chain)
    assert np.linalg.norm(plain - best) > 0.5
    assert np.linalg.norm(nova - best) < 0.15 * np.linalg.norm(plain - best)


def uneven() -> Data:
    """Two clients that disagree; the second takes ten times as many steps a pass."""
    draw = np.random.default_rng(0)
    found = {}
    for i, (count, truth) in enumerate([(20, 1.0), (200, -1.0)]):
        x = draw.normal(size=(count, 2))
        found[f"c{i}"] = (x, truth * x.sum(axis=1))
    return found


def test_noise_and_secure_sums_need_the_bound_on_steps() -> None:
    data = clients()
    chain = (tacit.clip(1.0), tacit.quantise(), tacit.secure_sum(), tacit.mean())
    with pytest.raises(tacit.Unsound, match="algorithm:steps"):
        federation(tacit.fednova(lr=0.05, batch=4), data, protect=chain).plan()
    bounded = tacit.fednova(lr=0.01, batch=4, shuffle=False, most=10)
    wide = (tacit.clip(100.0), tacit.quantise(10**6), tacit.secure_sum(), tacit.mean())
    hidden = learned(bounded, data, protect=wide)
    clear = learned(bounded, data, protect=(tacit.plain_sum(), tacit.mean()))
    assert np.allclose(hidden, clear, atol=1e-2)
