"""FedBN with torch: what stays, a reference of its equations, and features that differ in scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tacit
from tacit.base.key import Key
from tacit.base.vector import Kind
from tacit.learn.examples import Examples
from tacit.learn.personal import NORMS, split

CONTRACT = tacit.arrays((4,), 2)


class Normed(nn.Module):
    """Two batch normalisations: a named one, and one in a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(4)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.scale(x)))  # type: ignore[no-any-return]  # torch types modules so


def federation(algorithm: Any, **changes: Any) -> tacit.Federation:
    base = tacit.Federation(
        task=tacit.torch.task(Normed),
        clients=4,
        data=CONTRACT,
        algorithm=algorithm,
        rounds=3,
    )
    return base.replace(**changes)


def shifted(records: int, seed: int) -> dict[str, tuple[Any, Any]]:
    """One rule for all, but each site measures in units, and from a zero, of its own."""
    units = np.random.default_rng(9)
    draw = np.random.default_rng(seed)
    held = {}
    for i in range(4):
        scale, zero = np.exp(units.normal(0, 1.5, 4)), units.normal(0, 3, 4)
        x = draw.normal(size=(records, 4))
        label = x[:, 0] + x[:, 1] * x[:, 2] > 0
        held[f"site-{i}"] = ((scale * x + zero).astype(np.float32), label.astype(np.int64))
    return held


def test_the_task_names_the_tensors_of_batch_normalisation() -> None:
    plan = federation(tacit.fedbn(lr=0.1)).plan()
    home = {tensor.name for tensor in plan.split.home.tensors}
    parts = ("weight", "bias", "running_mean", "running_var")
    assert home == {f"{layer}.{part}" for layer in ("scale", "body.1") for part in parts}
    assert not any(tensor.kind is Kind.BUFFER for tensor in plan.layout.tensors)
    assert [block.name for block in plan.message.blocks] == ["update", "weight"]
    assert split(plan.task, ("*.running_*",)).home.trained == 0
    assert tacit.fedbn(lr=0.1).build().personal == (NORMS,)


def test_fedbn_beside_its_equations() -> None:
    sgd = tacit.fedbn(lr=0.1, batch=8, shuffle=False)
    data = shifted(16, 1)
    run = tacit.simulate(federation(sgd), data)
    task, parts = run.plan.task, run.plan.split
    trained, stays = parts.whole.trained, parts.stays
    w = task.start(Key.seed(0) / "start")
    own = [run.plan.home_start] * 4
    for _ in range(3):
        total = np.zeros(w.size)
        for i, held in enumerate(data.values()):
            local = w.copy()
            local[stays] = own[i]
            for start in (0, 8):
                batch = Examples(*held).take(slice(start, start + 8))
                found = task.grad(local, batch, Key.seed(0))
                local[:trained] -= 0.1 * found.trained
                local[trained:] = found.buffers
            own[i], total = local[stays], total + local / 4
        w = total.astype(np.float32)
    assert np.allclose(run.outcome.params, w[~stays], atol=1e-5)
    for i in range(4):
        assert np.allclose(run.model_of(i).params[stays], own[i], atol=1e-5)


def test_own_normalisation_beats_a_common_one_where_units_differ() -> None:
    train, test = shifted(60, 1), shifted(300, 2)
    common = tacit.simulate(
        federation(tacit.fedavg(lr=0.1, batch=20), rounds=25), train, test=test
    ).final
    mine = tacit.simulate(
        federation(tacit.fedbn(lr=0.1, batch=20), rounds=25), train, test=test
    ).final
    assert common and mine
    assert mine.accuracy > common.accuracy + 0.1
    assert mine.worst > common.worst + 0.1


def test_batch_normalisation_that_stays_may_be_trained_under_client_level_privacy() -> None:
    noised = tacit.central_dp(epsilon=8, delta=1e-5, clip=1.0)
    with pytest.raises(tacit.Unsound) as caught:
        federation(tacit.fedavg(lr=0.1), protect=noised).plan()
    assert caught.value.code == "chain.noise-buffers"
    assert any(
        claim.holds for claim in federation(tacit.fedbn(lr=0.1), protect=noised).plan().claims
    )


def test_toml_and_back() -> None:
    described = federation(tacit.fedbn(lr=0.1, epochs=2))
    assert tacit.Federation.from_toml(described.to_toml()) == described
