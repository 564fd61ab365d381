"""MOON beside Algorithm 1 of Li, He, Song 2021, with the loss as the paper writes it in torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.learn.local import Home
from tacit.learn.moon import cosine
from tests.learn.papers import Data, batches, weights

WIDTHS = (4, 6, 5, 3)


def skewed() -> Data:
    """Three classes; each client lacks one."""
    draw = np.random.default_rng(2)
    found = {}
    for i in range(3):
        y = (i + draw.integers(0, 2, 20 + 4 * i)) % 3
        x = draw.normal(size=(len(y), 4))
        x[np.arange(len(y)), y] += 2.0
        found[f"c{i}"] = (x, y)
    return found


def double() -> nn.Module:
    layers = [nn.Linear(a, b) for a, b in pairwise(WIDTHS)]
    first, second, third = layers
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third).double()


def federation(task: Any, algorithm: Any, rounds: int = 3) -> tacit.Federation:
    return tacit.Federation(
        task=task,
        clients=3,
        data=tacit.arrays(shape=(4,), classes=3),
        algorithm=algorithm,
        rounds=rounds,
    )


def forward(params: Any, x: Any) -> tuple[Any, Any]:
    """Representation and logits of a network with two hidden layers, on (in, out) weights."""
    z, start = x, 0
    for depth, (a, b) in enumerate(pairwise(WIDTHS)):
        weight, bias = params[start : start + a * b].reshape(a, b), params[start + a * b :][:b]
        start += a * b + b
        if depth == 2:
            return z, z @ weight + bias
        z = torch.relu(z @ weight + bias)
    raise AssertionError("unreachable")


def reference(start: Any, data: Data, rounds: int) -> Any:
    model = torch.tensor(start)
    previous = [model] * 3
    for _ in range(rounds):
        locals_ = []
        for i, (x, y) in enumerate(data.values()):
            local = model.clone().requires_grad_()
            for few_x, few_y in batches(x, y, 8, epochs=2):
                rows, labels = torch.tensor(few_x), torch.tensor(few_y)
                z, logits = forward(local, rows)
                views = [forward(other, rows)[0].detach() for other in (model, previous[i])]
                near, far = (functional.cosine_similarity(z, view) / 0.5 for view in views)
                first = torch.zeros(len(rows), dtype=torch.long)
                contrast = functional.cross_entropy(torch.stack([near, far], 1), first)
                loss = functional.cross_entropy(logits, labels) + 2.0 * contrast
                (slope,) = torch.autograd.grad(loss, local)
                local = (local - 0.1 * slope).detach().requires_grad_()
            locals_.append(local.detach())
            previous[i] = locals_[-1]
        parts = torch.tensor(weights(data))
        model = sum(part * local for part, local in zip(parts, locals_, strict=True))
    return model.numpy()


SETTINGS: dict[str, Any] = {"lr": 0.1, "mu": 2.0, "epochs": 2, "batch": 8, "shuffle": False}


def test_beside_the_equations() -> None:
    data = skewed()
    described = federation(tacit.numpy.mlp((6, 5)), tacit.moon(**SETTINGS))
    found = tacit.simulate(described, data).model.params
    start = described.plan().task.start(Key.seed(0) / "start")
    assert np.allclose(found, reference(start, data, 3), atol=1e-9)
    plain = tacit.simulate(federation(described.task, tacit.moon(**SETTINGS | {"mu": 0})), data)
    assert np.abs(plain.model.params - found).max() > 1e-3


@pytest.mark.parametrize("layer", ["", "3"])
def test_a_torch_module_gives_the_same(layer: str) -> None:
    data = skewed()
    described = federation(tacit.torch.task(double), tacit.moon(layer=layer, **SETTINGS))
    run = tacit.simulate(described, data)
    start = described.plan().task.start(Key.seed(0) / "start")
    layout = run.plan.task.layout

    def turned(vector: Any) -> Any:
        """Weights (out, in) as torch keeps them to (in, out)."""
        return np.concatenate([part.T.ravel() for part in layout.unpack(vector).values()])

    assert np.allclose(turned(run.model.params), reference(turned(start), data, 3), atol=1e-9)


def test_the_cosine_and_its_derivative() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 5, 3))
    found, slope = cosine(a, b)
    assert np.allclose(found, functional.cosine_similarity(torch.tensor(a), torch.tensor(b)))
    for j in range(3):
        move = 1e-6 * (np.arange(3) == j)
        step = (cosine(a + move, b)[0] - cosine(a - move, b)[0]) / 2e-6
        assert np.allclose(slope[:, j], step, atol=1e-6)
    assert np.isfinite(cosine(np.zeros((1, 3)), b[:1])[1]).all()


def test_clients_turn_from_their_own_last_view_towards_the_offered_models() -> None:
    """One visit from the same state, with the contrast and without."""
    plans = [
        federation(tacit.numpy.mlp((6, 5)), tacit.moon(**SETTINGS | {"mu": mu})).plan()
        for mu in (0.0, 1.0)
    ]
    task: Any = plans[0].task
    start = {"params": task.start(Key.seed(1))}
    homes = [Home(task, Examples(*held), Key.seed(0)) for held in skewed().values()]
    last = [plans[0].algorithm.visit(start, None, home)[1] for home in homes]
    offered = {"params": np.mean(last, axis=0)}

    def gap(plan: Any, home: Home, previous: Any) -> float:
        _, mine = plan.algorithm.visit(offered, previous, home)
        views = [task.represent(at, home.held.x, "") for at in (mine, offered["params"], previous)]
        return float(np.mean(cosine(views[0], views[1])[0] - cosine(views[0], views[2])[0]))

    for home, previous in zip(homes, last, strict=True):
        plain, contrasted = (gap(plan, home, previous) for plan in plans)
        assert contrasted > plain


@pytest.mark.parametrize(
    "task", [tacit.numpy.logistic_regression(), tacit.statistics.standardise()]
)
def test_a_task_without_a_representation_is_refused_before_anything_runs(task: Any) -> None:
    with pytest.raises(tacit.TacitError, match=r"moon\(\) with tacit.numpy.mlp"):
        federation(task, tacit.moon(lr=0.1)).plan()


@pytest.mark.parametrize("task", [tacit.numpy.mlp((6, 5)), tacit.torch.task(double)])
def test_an_unknown_layer_is_named(task: Any) -> None:
    with pytest.raises(tacit.TacitError, match="no layer 'head'"):
        tacit.simulate(federation(task, tacit.moon(lr=0.1, layer="head")), skewed())
