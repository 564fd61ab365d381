"""Clipped sums by bookkeeping are those of gradients that are written out, example by example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tacit.base.key import Key
from tacit.learn import torch_clipped
from tacit.learn.examples import Examples
from tacit.learn.torch_bookkeeping import bookkeeping
from tests.learn import torch_modules
from tests.learn.torch_cases import build, some_x, some_y

KEY = Key.seed(0)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 2, groups=2, dilation=2, bias=False),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def sequence() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3, bias=False))


def along() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 3, 2), nn.MaxPool1d(2), nn.Flatten(1), nn.Linear(6, 3))


def partly_frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(5, 6), nn.Sigmoid(), nn.Linear(6, 3))
    module[0].weight.requires_grad_(False)
    return module


class Residual(nn.Module):
    """Two ways through one layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))  # type: ignore[no-any-return]  # torch types modules so


def double() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()


def twice() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(5, 3))


CASES: list[tuple[Any, tuple[int, ...], bool]] = [
    (convolutional, (2, 9, 9), True),
    (sequence, (7, 4), True),
    (along, (2, 5), True),
    (partly_frozen, (5,), True),
    (Residual, (5,), True),
    (double, (5,), True),
    (torch_modules.Linear, (5,), False),  # a root without parts is not hooked by its name
]


@pytest.mark.parametrize(
    ("model", "shape", "known"), CASES, ids=lambda v: getattr(v, "__name__", "")
)
@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e6])
def test_bookkeeping_is_exact(
    model: Any, shape: tuple[int, ...], known: bool, clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(model, shape=shape)
    labels = some_y(8) if model is not sequence else np.tile(some_y(8)[:, None], (1, 7))
    held = Examples(some_x(8, *shape), labels)
    params = built.start(KEY)
    assert (bookkeeping(built.flat, built.loss) is not None) or not known
    found = built.clipped_grad_sum(params, held, clip, KEY)
    monkeypatch.setitem(torch_clipped._BOOKS, built.flat, None)
    written = built.clipped_grad_sum(params, held, clip, KEY)
    limit = 1e-12 if model is double else 1e-5
    np.testing.assert_allclose(found, written, atol=limit * max(np.abs(written).max(), 1e-9) * 10)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (twice, (5,)),
        (torch_modules.Branching, (5,)),
        (torch_modules.Buffered, (5,)),
        (torch_modules.Mixed, (5,)),
        (torch_modules.Logarithm, (5,)),
    ],
)
def test_modules_that_are_not_known_to_treat_examples_alone_are_left_to_torch(
    model: Any, shape: tuple[int, ...]
) -> None:
    built = build(model, shape=shape)
    assert bookkeeping(built.flat, built.loss) is None


def test_a_loss_of_ones_own_is_left_to_torch() -> None:
    built = build(Residual, torch_modules.smooth_cross_entropy)
    assert bookkeeping(built.flat, built.loss) is None
