from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import tacit
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.learn.lora import frozen_digest, with_base
from tacit.learn.torch_loss import loss_named
from tacit.learn.torch_model import TorchModel, build
from tests.learn.lora_models import LETTERS, NextLetter

CONTRACT = tacit.arrays(shape=(8,), classes=LETTERS)


def text(seed: int, count: int = 24) -> Examples:
    """Letters that go up by one from a random first: the next is the last and one."""
    first = np.random.default_rng(seed).integers(0, LETTERS, count)
    letters = (first[:, None] + np.arange(9)) % LETTERS
    return Examples(letters[:, :-1], letters[:, -1])


def model(**options: Any) -> TorchModel:
    loss = loss_named("cross_entropy", None, LETTERS)
    return build("NextLetter", partial(NextLetter, **options), loss, CONTRACT, Key.seed(1))


def frozen(module: torch.nn.Module) -> dict[str, Any]:
    held = module.named_parameters()
    return {n: p.detach().numpy().copy() for n, p in held if not p.requires_grad}


def test_only_adapters_are_in_the_layout() -> None:
    made = model(rank=3)
    tensors = {tensor.name: tensor.shape for tensor in made.layout.tensors}
    assert all("lora_" in name for name in tensors)
    assert sorted(tensors.values()) == [(3, 16), (3, 16), (48, 3), (48, 3)]
    assert made.layout.size == 2 * 3 * (16 + 48)
    assert sum(values.size for values in frozen(made.flat.module).values()) > 6000


def test_the_gradient_is_that_of_the_adapters_under_autograd() -> None:
    made, batch = model(), text(0)
    params = made.start(Key.seed(2)) + 0.05
    found = made.grad(params, batch, Key.seed(3)).trained
    module = made.module(params)
    adapters = [p for p in module.parameters() if p.requires_grad]
    loss = torch.nn.functional.cross_entropy(module(torch.tensor(batch.x)), torch.tensor(batch.y))
    wanted = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, adapters)]).numpy()
    assert np.allclose(found, wanted, atol=1e-6)
    assert np.count_nonzero(found) > 0.9 * found.size


def test_every_client_has_the_same_frozen_base_and_training_leaves_it() -> None:
    task = tacit.torch.task(NextLetter, rank=2)
    north, south = task.build(CONTRACT), task.build(CONTRACT)
    before = frozen(north.flat.module)
    assert before.keys() == frozen(south.flat.module).keys()
    params = north.start(Key.seed(0))
    north.grad(params + 0.1, text(0), Key.seed(0))
    for module in (north.flat.module, south.flat.module, north.module(params)):
        assert all(np.array_equal(before[name], values) for name, values in frozen(module).items())


def test_adapters_learn_together_and_only_they_travel() -> None:
    federation = tacit.Federation(
        task=tacit.torch.task(NextLetter, rank=4),
        data=CONTRACT,
        algorithm=tacit.fedavg(lr=0.3, batch=8, epochs=2),
        clients=3,
        rounds=4,
    )
    data = {f"site-{i}": tuple(text(i)) for i in range(3)}
    run = tacit.simulate(federation, data, test={"new": tuple(text(9))})
    assert not run.problems
    losses = [row["train_loss"] for row in run.history]
    assert losses[-1] < 0.8 * losses[0]
    travelled = run.bytes / (4 * 3 * 2)
    assert travelled < 1.2 * 8 * run.model.params.size


def test_gradient_checkpointing_changes_no_gradient() -> None:
    plain, saving = model(), model(checkpoints=True)
    params, batch = plain.start(Key.seed(2)) + 0.05, text(0)
    layers = saving.flat.module.get_submodule("adapted.base_model.model.transformer.h")
    assert all(layer.gradient_checkpointing for layer in layers.children())
    found, wanted = (made.grad(params, batch, Key.seed(3)).trained for made in (saving, plain))
    assert np.allclose(found, wanted, atol=1e-6)


def test_a_digest_names_the_frozen_weights_and_no_others() -> None:
    module = model().flat.module
    digest = frozen_digest(module)
    assert with_base(module, digest) is module
    with torch.no_grad():
        next(p for p in module.parameters() if p.requires_grad).add_(1)
    assert frozen_digest(module) == digest
    assert frozen_digest(module.to(torch.float64)) != digest
    other = model().flat.module
    with torch.no_grad():
        next(p for p in other.parameters() if not p.requires_grad)[0, 0] += 1e-3
    with pytest.raises(TacitError) as caught:
        with_base(other, digest)
    assert caught.value.code == "data.frozen-weights"
    assert digest[:16] in caught.value.cause


def test_a_client_with_another_base_does_not_train() -> None:
    task = tacit.torch.task(NextLetter, base="0" * 64)
    with pytest.raises(TacitError) as caught:
        task.build(CONTRACT)
    assert caught.value.code == "data.frozen-weights"


def test_half_precision_weights_have_a_digest() -> None:
    module = torch.nn.Linear(2, 2).to(torch.bfloat16).requires_grad_(False)
    assert frozen_digest(module) != frozen_digest(torch.nn.Linear(2, 2).requires_grad_(False))
