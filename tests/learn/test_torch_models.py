"""Users' torch modules of many kinds: training by tacit is training by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tacit.base.key import Key
from tacit.base.vector import Kind
from tacit.learn.algorithm import Aggregate
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples
from tacit.learn.fedavg import fedavg
from tacit.learn.local import Home
from tacit.learn.task import Gradient
from tacit.learn.torch import task
from tacit.learn.torch_clipped import _one_by_one, _sum
from tacit.learn.torch_model import TorchModel
from tests.learn import torch_modules

Array = npt.NDArray[Any]

WORDS = 12


def _features(*shape: int, rows: int = 12) -> Array:
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)


def _words(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, WORDS, (12, *shape))


def _labels(classes: int, *shape: int) -> Array:
    return np.random.default_rng(2).integers(0, classes, (12, *shape))


CASES: dict[str, tuple[Any, dict[str, Any], int, Examples]] = {
    "linear": (torch_modules.Linear, {}, 3, Examples(_features(5), _labels(3))),
    "batch norm": (torch_modules.convolutional, {}, 4, Examples(_features(1, 8, 8), _labels(4))),
    "group norm": (
        torch_modules.convolutional,
        {"normalised": False},
        4,
        Examples(_features(1, 8, 8), _labels(4)),
    ),
    "lstm": (torch_modules.Recurrent, {}, 3, Examples(_words(6), _labels(3))),
    "gru": (torch_modules.Recurrent, {"gated": True}, 3, Examples(_words(6), _labels(3))),
    "transformer": (torch_modules.Language, {}, WORDS, Examples(_words(6), _labels(WORDS, 6))),
    "mixed": (torch_modules.Mixed, {}, 3, Examples(_features(5), _labels(3))),
    "buffers": (torch_modules.Buffered, {}, 3, Examples(_features(5), _labels(3))),
    "pixels": (torch_modules.Segmenting, {}, 2, Examples(_features(1, 4, 4), _labels(2, 4, 4))),
    "branching": (torch_modules.Branching, {}, 3, Examples(_features(5), _labels(3))),
}
UNMIXED = [name for name in CASES if name != "batch norm"]


def _built(name: str) -> tuple[TorchModel, Array, Examples]:
    model, options, classes, held = CASES[name]
    built = task(model, **options).build(Arrays(held.x.shape[1:], classes))
    built.check(held)
    return built, built.start(Key.seed(7)), held


def _centralised(built: TorchModel, params: Array, held: Examples, lr: float, batch: int) -> Any:
    """The plain torch loop over one pass, rows in order."""
    module: Any = built.module(params).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=lr)
    x, y = torch.from_numpy(held.x), torch.from_numpy(held.y)
    for start in range(0, len(x), batch):
        optimiser.zero_grad()
        output = module(x[start : start + batch])
        classes_first = output.movedim(-1, 1) if output.ndim == 3 else output
        loss: Any = nn.functional.cross_entropy(classes_first, y[start : start + batch])
        loss.backward()
        optimiser.step()
    return module


def _federated(built: TorchModel, params: Array, held: Examples, lr: float, batch: int) -> Array:
    """One round of FedAvg with a single client."""
    algorithm = fedavg(lr, batch=batch, shuffle=False).build()
    state = algorithm.start(params)
    home = Home(built, held, Key.seed(3))
    contribution, _ = algorithm.visit(algorithm.offer(state), None, home)
    after: Array = algorithm.apply(state, Aggregate(contribution.update, {}, 1), built.layout)[
        "params"
    ]
    return after


def _named(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


STEPS = [(name, 0) for name in CASES] + [(name, 5) for name in CASES if name != "buffers"]
"""Buffers that stay at home begin every step anew, so a module that counts its steps differs."""


@pytest.mark.parametrize(("name", "batch"), STEPS)
def test_one_client_is_centralised_torch(name: str, batch: int) -> None:
    built, params, held = _built(name)
    after = built.layout.unpack(_federated(built, params, held, 0.1, batch))
    expected = _named(_centralised(built, params, held, 0.1, batch or held.count))
    before = built.layout.unpack(params)
    assert any(not np.array_equal(after[name], before[name]) for name in after)
    for key, found in after.items():
        wanted = expected[key].detach().double().numpy()
        exact = 1e-2 if expected[key].dtype == torch.bfloat16 else 1e-6
        np.testing.assert_allclose(found, wanted, rtol=0, atol=exact, err_msg=key)


@pytest.mark.parametrize("name", UNMIXED)
def test_clipped_sum_is_that_of_single_examples(name: str) -> None:
    built, params, held = _built(name)
    singles = [
        built.grad(params, held.take(slice(row, row + 1)), Key.seed(0)).trained
        for row in range(held.count)
    ]
    norms = np.linalg.norm(singles, axis=1)
    clip = float(np.median(norms))
    expected = sum(g * min(1.0, clip / n) for g, n in zip(singles, norms, strict=True))
    found = built.clipped_grad_sum(params, held, clip, Key.seed(0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 if name != "mixed" else 2e-2)


@pytest.mark.parametrize("name", ["lstm", "transformer", "group norm"])
def test_the_loop_and_the_vectorised_map_agree(name: str) -> None:
    built, params, held = _built(name)
    vectorised = built.clipped_grad_sum(params, held, 0.5, Key.seed(0))
    built.flat.load(params, training=True)
    x, y = torch.from_numpy(held.x), torch.from_numpy(held.y)
    loop = _sum(built.flat, _one_by_one(built.flat, built.loss), x, y, 0.5, 5)
    np.testing.assert_allclose(vectorised, loop, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_depends_on_its_arguments_alone(name: str) -> None:
    built, params, held = _built(name)
    before = params.copy()
    first = built.grad(params, held, Key.seed(0))
    kept = Gradient(first.trained.copy(), first.buffers.copy(), first.loss)
    built.evaluate(params + 1, held)
    built.grad(params * 2, held.take(slice(0, 3)), Key.seed(5))
    again = built.grad(params, held, Key.seed(0))
    for found in (first, again):
        assert found.loss == kept.loss
        assert np.array_equal(found.trained, kept.trained)
        assert np.array_equal(found.buffers, kept.buffers)
    assert np.array_equal(params, before)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_is_that_of_the_module(name: str) -> None:
    built, params, held = _built(name)
    with torch.no_grad():
        output = built.module(params)(torch.from_numpy(held.x))
    logits = output.movedim(-1, 1) if output.ndim == 3 else output
    y = torch.from_numpy(held.y)
    tallies = built.evaluate(params, held)
    mean = nn.functional.cross_entropy(logits, y).item()
    assert tallies.examples == held.y.size
    assert tallies.mean_loss == pytest.approx(mean, rel=1e-5)
    assert tallies.correct == (logits.argmax(1) == y).sum().item()
    np.testing.assert_array_equal(built.predict(params, held.x), logits.argmax(1).numpy())
    np.testing.assert_allclose(built.outputs(params, held.x), output.float().numpy(), atol=1e-5)


def test_a_shared_parameter_counts_once() -> None:
    built, params, _ = _built("transformer")
    names = [tensor.name for tensor in built.layout.tensors]
    assert "embed.weight" in names
    assert "out.weight" not in names
    module: Any = built.module(params)
    assert built.layout.size == sum(p.numel() for p in module.parameters())
    assert module.out.weight is module.embed.weight


def test_what_travels_and_what_stays_at_home() -> None:
    built, params, _ = _built("buffers")
    kinds = {tensor.name: tensor.kind for tensor in built.layout.tensors}
    assert kinds == {
        "unused": Kind.TRAINED,
        "map.weight": Kind.TRAINED,
        "map.bias": Kind.TRAINED,
        "mean": Kind.BUFFER,
    }
    assert built.layout.trained == 2 + 15 + 3
    assert params.dtype == np.float32


def test_batch_norm_statistics_travel_and_their_counter_does_not() -> None:
    built, params, held = _built("batch norm")
    names = {tensor.name for tensor in built.layout.tensors if tensor.kind is Kind.BUFFER}
    assert names == {"1.running_mean", "1.running_var"}
    assert built.mixes == "1"
    reference: Any = built.module(params).train()
    reference(torch.from_numpy(held.x))
    expected = torch.cat([reference[1].running_mean, reference[1].running_var])
    found = built.grad(params, held, Key.seed(0)).buffers
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert not np.array_equal(found, params[built.layout.trained :])


def test_batch_norm_that_does_not_train_does_not_mix() -> None:
    built = task(torch_modules.convolutional, normalised=False).build(Arrays((1, 8, 8), 4))
    assert built.mixes is None
    assert task(nn.BatchNorm1d, num_features=3).build(Arrays((3,), 3)).mixes == "BatchNorm1d"


def test_mixed_precision_is_exact_in_float64() -> None:
    built, params, held = _built("mixed")
    assert params.dtype == np.float64
    assert built.grad(params, held, Key.seed(0)).trained.dtype == np.float64
    params[-1] = 1 / 3
    module: Any = built.module(params)
    assert module.last.bias[-1].item() == 1 / 3


def test_a_frozen_parameter_is_the_same_at_every_place() -> None:
    first, params, held = _built("buffers")
    second, other, _ = _built("buffers")
    start = second.start(Key.seed(8))
    assert np.array_equal(params, other)
    assert not np.array_equal(params, start)
    modules: list[Any] = [built.module(params) for built in (first, second)]
    assert torch.equal(modules[0].frozen, modules[1].frozen)
    assert np.array_equal(
        first.grad(params, held, Key.seed(0)).trained,
        second.grad(params, held, Key.seed(0)).trained,
    )
