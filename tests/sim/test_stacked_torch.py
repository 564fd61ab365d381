"""The stacked backend on torch modules: by hand, mapped by torch, or one by one with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import tacit
from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.torch_stacked import StackedModule
from tacit.sim.stacked import Stacked
from tests.learn import torch_modules
from tests.sim.stacking import SIZES, algorithms, apart, both, data, federation, went_in_blocks


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5, bias=False), nn.Linear(5, 3)
    )


def precise() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def curved() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def within(exact: Any, stacked: Any, limit: float) -> None:
    assert apart(exact, stacked) < limit
    assert exact.history[-1]["train_loss"] == pytest.approx(
        stacked.history[-1]["train_loss"], rel=1e-4
    )


def by_hand(backend: Stacked) -> bool:
    return isinstance(backend.stacked, StackedModule) and backend.stacked.chain is not None


@pytest.mark.parametrize("algorithm", algorithms("1.weight"), ids=lambda one: one.kind)
def test_every_algorithm_on_linear_layers(algorithm: AlgorithmSpec) -> None:
    federated = federation(tacit.torch.task(perceptron), (3, 4), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((3, 4), 3))
    assert went_in_blocks(algorithm, backend)
    assert by_hand(backend) or not backend.block_of
    within(exact, stacked, 1e-4)


@pytest.mark.parametrize("algorithm", algorithms("0.*"), ids=lambda one: one.kind)
def test_every_algorithm_on_convolutions(algorithm: AlgorithmSpec) -> None:
    task = tacit.torch.task(torch_modules.convolutional, normalised=False)
    federated = federation(task, (1, 8, 8), 4, algorithm=algorithm, rounds=2)
    exact, stacked, backend = both(federated, data((1, 8, 8), 4))
    assert went_in_blocks(algorithm, backend) and not by_hand(backend)
    within(exact, stacked, 1e-4)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4)
    )


@pytest.mark.parametrize("algorithm", algorithms("0.*"), ids=lambda one: one.kind)
def test_every_algorithm_on_a_chain_with_convolutions(algorithm: AlgorithmSpec) -> None:
    federated = federation(tacit.torch.task(images), (1, 8, 8), 4, algorithm=algorithm, rounds=2)
    exact, stacked, backend = both(federated, data((1, 8, 8), 4))
    assert went_in_blocks(algorithm, backend)
    assert isinstance(backend.stacked, StackedModule) or not backend.block_of
    assert not isinstance(backend.stacked, StackedModule) or backend.stacked.plain is not None
    within(exact, stacked, 1e-4)


def wide() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(96, 30), nn.ReLU(), nn.Linear(30, 3))


@pytest.mark.parametrize("algorithm", algorithms("1.*"), ids=lambda one: one.kind)
def test_every_algorithm_on_a_first_layer_in_dual_form(
    algorithm: AlgorithmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tacit.learn.torch_dual.pays", lambda chain, loader: True)
    federated = federation(tacit.torch.task(wide), (12, 8), 3, algorithm=algorithm)
    exact, stacked, backend = both(federated, data((12, 8), 3))
    assert went_in_blocks(algorithm, backend)
    within(exact, stacked, 1e-4)


def test_large_models_take_their_steps_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.learn.torch_stacked.LARGE", 0)
    task = tacit.torch.task(torch_modules.convolutional, normalised=False)
    exact, stacked, backend = both(federation(task, (1, 8, 8), 4), data((1, 8, 8), 4))
    assert backend.block_of
    within(exact, stacked, 1e-4)


@pytest.mark.parametrize("algorithm", [tacit.fedavg(0.1, batch=5), tacit.fedbn(0.1, batch=5)])
def test_batch_normalisation_in_blocks(algorithm: AlgorithmSpec) -> None:
    """Its buffers are every client's own, and its ragged batches hold no padding."""
    federated = federation(
        tacit.torch.task(torch_modules.convolutional),
        (1, 8, 8),
        4,
        algorithm=algorithm,
    )
    exact, stacked, backend = both(federated, data((1, 8, 8), 4))
    assert backend.block_of
    assert apart(exact, stacked) < 1e-4


@pytest.mark.parametrize("model", [precise, curved], ids=lambda one: one.__name__)
def test_double_precision_is_kept(model: Any) -> None:
    exact, stacked, backend = both(federation(tacit.torch.task(model), (4,), 3), data((4,), 3))
    assert backend.block_of and by_hand(backend) == (model is precise)
    within(exact, stacked, 1e-9)


@pytest.mark.parametrize(
    ("model", "loss", "classes", "hand"),
    [
        (torch_modules.Linear, "mse", 0, True),
        (torch_modules.Linear, "bce", 2, True),
        (torch_modules.Linear, torch_modules.smooth_cross_entropy, 3, False),
        (torch_modules.Mixed, "cross_entropy", 3, False),
        (torch_modules.Buffered, "cross_entropy", 3, False),
    ],
)
def test_losses_and_modules(model: Any, loss: Any, classes: int, hand: bool) -> None:
    outputs = {"outputs": 3 if classes == 3 else 1} if model is torch_modules.Linear else {}
    task = tacit.torch.task(model, loss, **outputs)
    held = data((5,), max(classes, 2))
    exact, stacked, backend = both(federation(task, (5,), classes), held)
    assert backend.block_of and by_hand(backend) == hand
    assert apart(exact, stacked) < 1e-4


@pytest.mark.parametrize(
    ("model", "why"),
    [(torch_modules.Dropping, "random numbers"), (torch_modules.Branching, "torch says")],
)
def test_what_cannot_be_stacked_runs_one_by_one_and_says_why(model: Any, why: str) -> None:
    federated = federation(tacit.torch.task(model), (5,), 3, rounds=1)
    exact, stacked, backend = both(federated, data((5,), 3))
    assert not backend.block_of and "one by one" in backend.says and why in backend.says
    assert apart(exact, stacked) == 0.0


@pytest.mark.parametrize("gated", [False, True])
def test_recurrent_networks_in_blocks(gated: bool) -> None:
    draw = np.random.default_rng(0)
    held = [(draw.integers(0, 12, (n, 6)), draw.integers(0, 3, n)) for n in SIZES]
    task = tacit.torch.task(torch_modules.Recurrent, gated=gated)
    exact, stacked, backend = both(federation(task, (6,), 3, rounds=2), held)
    assert backend.block_of
    within(exact, stacked, 1e-4)


def test_words_in_blocks() -> None:
    """Token ids stay whole, attention and tied embeddings are mapped."""
    draw = np.random.default_rng(0)
    held = [(draw.integers(0, 12, (n, 6)), draw.integers(0, 12, (n, 6))) for n in SIZES]
    federated = federation(tacit.torch.task(torch_modules.Language), (6,), 12, rounds=1)
    exact, stacked, backend = both(federated, held)
    assert backend.block_of
    within(exact, stacked, 1e-4)


def test_clipped_sums_of_records() -> None:
    protect = tacit.record_dp(epsilon=20.0, delta=1e-5, clip=0.5, sample=0.5)
    federated = federation(
        tacit.torch.task(perceptron), (3, 4), 3, protect=protect, algorithm=tacit.fedsgd(lr=0.1)
    )
    exact, stacked, backend = both(federated, data((3, 4), 3))
    assert backend.block_of
    assert apart(exact, stacked) < 1e-4


def test_a_loss_that_is_not_finite_names_its_client() -> None:
    held = [(np.abs(x), y) for x, y in data((5,), 3)]
    held[4][0][0, 0] = -1.0
    federated = federation(
        tacit.torch.task(torch_modules.Logarithm), (5,), 3, cohort=tacit.everyone(), quorum=5
    )
    exact, stacked, _ = both(federated, held)
    assert {p.client for p in stacked.problems} == {"client-4"}
    assert {p.error.code for p in stacked.problems} == {"task.loss-not-finite"}
    assert apart(exact, stacked) < 1e-4
