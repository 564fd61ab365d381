"""The stacked backend on torch modules: by hand, mapped by torch, or one by one with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import tacit
from tacit.learn.algorithm import AlgorithmSpec
from tests.learn import torch_modules
from tests.sim.stacking import algorithms, apart, both, data, federation


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5, bias=False), nn.Linear(5, 3)
    )


def precise() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def curved() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def image() -> Any:
    return tacit.torch.task(torch_modules.convolutional, normalised=False)


def within(exact: Any, stacked: Any, limit: float) -> None:
    assert apart(exact, stacked) < limit
    assert exact.history[-1]["train_loss"] == pytest.approx(
        stacked.history[-1]["train_loss"], rel=1e-4
    )


@pytest.mark.parametrize("algorithm", algorithms("1.weight").values(), ids=lambda one: one.kind)
def test_every_algorithm_on_linear_layers(algorithm: AlgorithmSpec) -> None:
    federated = federation(tacit.torch.task(perceptron), (3, 4), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((3, 4), 3))
    assert backend.stacked.chain is not None and backend.block_of
    within(exact, stacked, 1e-4)


@pytest.mark.parametrize("algorithm", algorithms("0.*").values(), ids=lambda one: one.kind)
def test_every_algorithm_on_convolutions(algorithm: AlgorithmSpec) -> None:
    federated = federation(image(), (1, 8, 8), 4, algorithm=algorithm, rounds=2)
    exact, stacked, backend = both(federated, data((1, 8, 8), 4))
    assert backend.stacked.chain is None and backend.block_of
    within(exact, stacked, 1e-4)
