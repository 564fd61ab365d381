"""Clients' optimisers on torch modules with shared, mixed and other sorts of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tacit
from tacit.base.key import Key
from tests.learn import torch_modules
from tests.sim.stacking import SIZES, apart, both, data, federation


def tied() -> nn.Module:
    """Two layers that share their weights."""
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(6, 3)).double()


def words(sizes: tuple[int, ...] = SIZES) -> Any:
    draw = np.random.default_rng(5)
    return [(draw.integers(0, 12, (n, 4)), draw.integers(0, 12, (n, 4))) for n in sizes]


CASES: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "tied": (tacit.torch.task(tied), (6,), 3),
    "buffered": (tacit.torch.task(torch_modules.Buffered), (5,), 3),
    "mixed": (tacit.torch.task(torch_modules.Mixed), (5,), 3),
    "normalised": (tacit.torch.task(torch_modules.convolutional), (1, 8, 8), 4),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "optimiser",
    [
        tacit.adam(epsilon=1e-3, keep=True),
        tacit.adamw(epsilon=1e-3, weight_decay=0.1),
        tacit.sgd(momentum=0.9, nesterov=True, weight_decay=0.01, keep=True),
    ],
    ids=lambda one: one.kind,
)
def test_blocks_of_modules(case: str, optimiser: Any) -> None:
    task, shape, classes = CASES[case]
    schedule = tacit.warmup(2, over="steps", then=tacit.cosine(5))
    algorithm = tacit.fedavg(0.01, batch=5, optimiser=optimiser, schedule=schedule)
    federated = federation(task, shape, classes, algorithm=algorithm)
    exact, stacked, _ = both(federated, data(shape, classes))
    assert apart(exact, stacked) < 1e-4


def test_batch_normalisation_that_stays_at_home() -> None:
    task, shape, classes = CASES["normalised"]
    optimiser = tacit.adam(epsilon=1e-3, keep=True)
    algorithm = tacit.fedbn(0.01, batch=5, optimiser=optimiser, schedule=tacit.cosine(4))
    federated = federation(task, shape, classes, algorithm=algorithm)
    exact, stacked, backend = both(federated, data(shape, classes))
    assert backend.block_of and apart(exact, stacked) < 1e-4


def test_a_language_model_with_tied_embeddings() -> None:
    task = tacit.torch.task(torch_modules.Language)
    algorithm = tacit.fedavg(0.003, batch=5, optimiser=tacit.adamw(epsilon=1e-3, keep=True))
    federated = federation(task, (4,), 12, algorithm=algorithm)
    exact, stacked, _ = both(federated, words())
    assert apart(exact, stacked) < 1e-4


@pytest.mark.parametrize("name", ["tied", "normalised"])
def test_a_visit_is_torchs_own_loop(name: str) -> None:
    """One client, one round: the module after Adam on the same batches in order."""
    task, shape, classes = CASES[name]
    optimiser = tacit.adam(epsilon=1e-3)
    algorithm = tacit.fedavg(0.01, batch=5, epochs=2, shuffle=False, optimiser=optimiser)
    federated = federation(task, shape, classes, algorithm=algorithm, clients=1, rounds=1)
    federated = federated.replace(cohort=tacit.everyone())
    ((x, y),) = data(shape, classes, sizes=(23,))
    plan = federated.plan()
    start = plan.start(Key.seed(0) / "start")
    found = tacit.simulate(federated, {"one": (x, y)}).model.arrays()
    module = (tied if name == "tied" else torch_modules.convolutional)()
    named = plan.layout.unpack(start)
    state = {key: torch.as_tensor(np.array(value)) for key, value in named.items()}
    module.load_state_dict({**module.state_dict(), **state})
    by_torch = torch.optim.Adam(module.parameters(), lr=0.01, eps=1e-3)
    floats = next(module.parameters()).dtype
    for _ in range(2):
        for first in range(0, 23, 5):
            few = torch.as_tensor(x[first : first + 5], dtype=floats)
            by_torch.zero_grad()
            right = torch.as_tensor(y[first : first + 5])
            nn.functional.cross_entropy(module(few), right).backward()
            by_torch.step()
    expected = module.state_dict()
    for key, value in found.items():
        assert np.allclose(value, expected[key].numpy(), atol=1e-5), key
