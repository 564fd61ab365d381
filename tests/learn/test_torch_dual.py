"""The dual form of a first layer takes the very steps that SGD takes on its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Steps
from tacit.learn.examples import Examples
from tacit.learn.schedule import Loader, Schedule, Workspace
from tacit.learn.torch_dual import pays, sgd
from tacit.learn.torch_rows import LinearChain

COUNTS = (17, 12, 9, 4, 1)
"""Longest first: ragged last batches, whole ones, less than a batch, a single record."""

STEPS = [
    Steps(0.1, batch, epochs, steps, shuffle=shuffle)
    for batch in (0, 1, 4, 100)
    for epochs, steps in ((1, 0), (3, 0), (1, 2), (1, 9))
    for shuffle in (False, True)
]


def hidden() -> nn.Module:
    layers = (nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.Linear(4, 3))
    return nn.Sequential(nn.Flatten(), *layers).double()


def unbiased() -> nn.Module:
    layers = (nn.Linear(12, 5, bias=False), nn.Linear(5, 3))
    return nn.Sequential(nn.Flatten(), *layers).double()


def alone() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()


def single() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


def chain_and_models(model: Any, alike: bool) -> tuple[LinearChain, Any]:
    task: Any = tacit.torch.task(model).build(tacit.arrays((3, 4), 3))
    keys = [Key.seed(0) / (0 if alike else i) for i in range(len(COUNTS))]
    chain = task.stacked().chain
    assert isinstance(chain, LinearChain)
    return chain, np.stack([task.start(key) for key in keys])


def loader_of(steps: Steps, dtype: Any, chain_form: Any) -> Loader:
    draw = np.random.default_rng(1)
    held = [
        Examples(draw.normal(size=(n, 3, 4)).astype(dtype), draw.integers(0, 3, n)) for n in COUNTS
    ]

    def order(client: int, turn: int) -> Any:
        return np.random.default_rng([client, turn]).permutation(COUNTS[client])

    return Loader(Schedule(np.array(COUNTS), steps), held, chain_form, order, Workspace())


def form_of(model: Any) -> Any:
    task: Any = tacit.torch.task(model).build(tacit.arrays((3, 4), 3))
    return task.stacked().form(Examples(np.zeros((1, 3, 4)), np.zeros(1, np.int64)))


def step_by_step(chain: LinearChain, params: Any, loader: Loader, lr: float) -> Any:
    losses = np.zeros(len(params))
    for parts in loader.steps():
        for rows, batch in parts:
            losses[rows] += chain.step(params[rows], batch, lr)
    return losses


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("model", [hidden, unbiased, alone])
def test_the_steps_are_those_of_the_weights(model: Any, alike: bool, steps: Steps) -> None:
    chain, start = chain_and_models(model, alike)
    loader = loader_of(steps, np.float64, form_of(model))
    expected, found = start.copy(), start.copy()
    losses = step_by_step(chain, expected, loader, steps.lr)
    np.testing.assert_allclose(sgd(chain, found, loader, steps.lr, alike), losses, rtol=1e-9)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert np.abs(found - start).max() > 1e-3


def test_single_precision_goes_through_the_quick_product() -> None:
    steps = Steps(0.1, 4, 2)
    chain, start = chain_and_models(single, alike=True)
    loader = loader_of(steps, np.float32, form_of(single))
    expected, found = start.copy(), start.copy()
    losses = step_by_step(chain, expected, loader, steps.lr)
    np.testing.assert_allclose(sgd(chain, found, loader, steps.lr, True), losses, rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("epochs", "expected"), [(1, False), (90, True)])
def test_it_is_taken_where_there_is_less_to_do(epochs: int, expected: bool) -> None:
    """Once through, the products of 17 records with each other cost more than 5 outputs do."""
    chain, _ = chain_and_models(hidden, alike=True)
    loader = loader_of(Steps(0.1, 4, epochs), np.float64, form_of(hidden))
    assert pays(chain, loader) is expected


def test_it_is_not_taken_where_it_needs_too_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.learn.torch_dual.ROOM", 10_000)
    chain, _ = chain_and_models(hidden, alike=True)
    assert not pays(chain, loader_of(Steps(0.1, 4, 90), np.float64, form_of(hidden)))
