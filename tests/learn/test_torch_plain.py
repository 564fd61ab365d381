"""Chains that are stepped by hand move as torch's own SGD moves them; others are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.learn.torch_plain import PlainChain, plain_chain


class Functional(nn.Module):
    """The same links, called as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2, stride=2)
        self.dense1, self.dense2 = nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv2(torch.relu(self.conv1(x))))
        x = functional.max_pool2d(x, 2, stride=1).flatten(1)
        return self.dense2(self.dense1(x).relu())  # type: ignore[no-any-return]  # torch types modules so


def modules() -> nn.Module:
    return nn.Sequential(
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 3, 2, dilation=2),
        nn.Flatten(),
        nn.ReLU(),
        nn.Linear(12, 5, bias=False),
        nn.Linear(5, 3),
    )


def first_dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.ReLU(), nn.Linear(4, 3))


def task_of(model: Any, loss: str = "cross_entropy") -> Any:
    return tacit.torch.task(model, loss).build(tacit.arrays((2, 8, 8), 3))


def functional_double() -> nn.Module:
    return Functional().double()


def modules_double() -> nn.Module:
    return modules().double()


def first_dense_double() -> nn.Module:
    return first_dense().double()


def chain_of(task: Any) -> PlainChain | None:
    return plain_chain(task.flat, task.loss, (2, 8, 8))


def moved_by_torch(task: Any, row: Any, x: Any, y: Any, lr: float) -> tuple[Any, float]:
    gradient = task.grad(row, Examples(x, y), Key.seed(0))
    return row - lr * gradient.trained, gradient.loss


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
@pytest.mark.parametrize("model", [functional_double, modules_double, first_dense_double])
def test_a_step_is_that_of_torch(model: Any, loss: str) -> None:
    task = task_of(model, loss)
    chain, draw = chain_of(task), np.random.default_rng(0)
    assert chain is not None
    row = task.start(Key.seed(0))
    for _ in range(3):
        x = draw.normal(size=(5, 2, 8, 8))
        y = draw.integers(0, 3 if loss == "cross_entropy" else 2, 5)
        y = y if loss == "cross_entropy" else np.stack([y, 1 - y, y], axis=1).astype(np.float64)
        expected, mean = moved_by_torch(task, row, x, y, 0.1)
        before = x.copy()
        assert chain.step(row, x, y, np.full(5, 0.2), 0.1) == pytest.approx(mean, rel=1e-9)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(x, before)


def normalised() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 3))


def dropped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(108, 3))


def reflected() -> nn.Module:
    padded = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(padded, nn.Flatten(), nn.Linear(192, 3))


def frozen_bias() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 3))
    next(iter(module.children())).bias.requires_grad_(False)
    return module


def tied() -> nn.Module:
    one, two = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
    two.weight = one.weight
    return nn.Sequential(one, two, nn.Flatten(), nn.Linear(128, 3))


def repeated() -> nn.Module:
    one = nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(one, one, nn.Flatten(), nn.Linear(128, 3))


def watched() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 3))
    module[0].register_forward_hook(lambda layer, x, y: 2 * y)
    return module


def early_relu() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 3))


def rounded_up() -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(3, ceil_mode=True), nn.Flatten(), nn.Linear(18, 3))


def over_columns() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(6, 6), nn.Flatten(), nn.Linear(108, 3))


class Branched(nn.Module):
    """Two ways to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(128, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense((x + self.conv(x)).flatten(1))  # type: ignore[no-any-return]  # torch types modules so


OTHERS = [
    normalised,
    dropped,
    reflected,
    frozen_bias,
    tied,
    repeated,
    watched,
    early_relu,
    rounded_up,
    over_columns,
    Branched,
]


@pytest.mark.parametrize("model", OTHERS, ids=lambda one: one.__name__)
def test_whatever_else_a_module_does_is_left_to_torch(model: Any) -> None:
    assert chain_of(task_of(model)) is None
