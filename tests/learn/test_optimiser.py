"""The clients' optimisers beside torch.optim's, on one model and on a block of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tacit

SETTINGS: list[tuple[Any, Any, dict[str, Any]]] = [
    (tacit.sgd(), torch.optim.SGD, {}),
    (tacit.sgd(momentum=0.9), torch.optim.SGD, {"momentum": 0.9}),
    (
        tacit.sgd(momentum=0.8, nesterov=True, weight_decay=0.1),
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    (tacit.adam(), torch.optim.Adam, {}),
    (
        tacit.adam(beta1=0.7, beta2=0.95, epsilon=1e-4, weight_decay=0.2),
        torch.optim.Adam,
        {"betas": (0.7, 0.95), "eps": 1e-4, "weight_decay": 0.2},
    ),
    (tacit.adamw(), torch.optim.AdamW, {}),
    (
        tacit.adamw(beta1=0.5, weight_decay=0.3),
        torch.optim.AdamW,
        {"betas": (0.5, 0.999), "weight_decay": 0.3},
    ),
]
RATES = (0.1, 0.2, 0.05, 0.05, 0.3, 0.01, 0.1)
"""Learning rates of the steps."""


def gradients(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(len(RATES), *shape))


def by_torch(make: Any, settings: dict[str, Any], start: Any, steps: Any) -> Any:
    weights = torch.tensor(start, requires_grad=True)
    optimiser = make([weights], lr=1.0, **settings)
    for rate, gradient in zip(RATES, steps, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        weights.grad = torch.tensor(gradient)
        optimiser.step()
    return weights.detach().numpy()


def by_tacit(optimiser: Any, start: Any, steps: Any, rates: Any = RATES) -> Any:
    weights, moments = start, optimiser.start(start)
    for rate, gradient in zip(rates, steps, strict=True):
        weights, moments = optimiser.step(weights, gradient, moments, rate)
    return weights


@pytest.mark.parametrize(("ours", "theirs", "settings"), SETTINGS)
@pytest.mark.parametrize(("dtype", "apart"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_as_torch_has_it(ours: Any, theirs: Any, settings: Any, dtype: Any, apart: float) -> None:
    start = np.random.default_rng(1).normal(size=6).astype(dtype)
    steps = gradients(6).astype(dtype)
    found = by_tacit(ours, start, steps)
    assert found.dtype == dtype
    assert np.allclose(found, by_torch(theirs, settings, start, steps), rtol=apart, atol=apart)


@pytest.mark.parametrize("optimiser", [one for one, *_ in SETTINGS])
def test_a_block_is_its_rows_each_with_its_own_rate(optimiser: Any) -> None:
    start = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    steps = gradients(3, 4).astype(np.float32)
    rates = np.random.default_rng(2).uniform(0.01, 0.3, (len(RATES), 3, 1))
    found = by_tacit(optimiser, start, steps, rates)
    assert found.dtype == np.float32
    for i in range(3):
        alone = by_tacit(optimiser, start[i], steps[:, i], rates[:, i, 0])
        assert np.allclose(found[i], alone, atol=1e-6)


def test_the_bias_is_corrected_by_each_rows_own_count() -> None:
    optimiser = tacit.adam()
    start, gradient = np.ones((2, 3)), np.full((2, 3), 0.5)
    moments = dict(optimiser.start(start))
    moments["count"] = np.array([[0.0], [4.0]])
    after, later = optimiser.step(start, gradient, moments, 0.1)
    first, second = 0.1 * 0.5, 0.001 * 0.25
    for row, count in enumerate((1, 5)):
        step = first / (1 - 0.9**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        assert np.allclose(after[row], 1 - 0.1 * step, atol=1e-12)
    assert later["count"].ravel().tolist() == [1.0, 5.0]


def test_nothing_that_is_given_is_changed() -> None:
    start, gradient = np.ones(3), np.ones(3)
    for optimiser, *_ in SETTINGS:
        moments = optimiser.start(start)
        before = {name: held.copy() for name, held in moments.items()}
        optimiser.step(start, gradient, moments, 0.1)
        assert np.array_equal(start, np.ones(3)) and np.array_equal(gradient, np.ones(3))
        assert all(np.array_equal(moments[name], held) for name, held in before.items())
