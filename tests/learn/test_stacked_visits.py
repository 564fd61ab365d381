"""Every visit gives one client alone and a block of clients the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Contribution, Rule, Steps, Trained
from tacit.learn.examples import Examples
from tacit.learn.local import Home
from tests.learn.papers import L2, clients


@final
@dataclass(frozen=True)
class Block:
    """Clients in lockstep on a leading axis; one that has finished waits for the others."""

    homes: tuple[Home, ...]

    @property
    def trained(self) -> int:
        return self.homes[0].trained

    def train(self, params: Any, steps: Steps, rule: Rule | None = None) -> Trained:
        found = np.array(np.broadcast_to(params, (len(self.homes), params.shape[-1])))
        todo = [list(home.batches(steps)) for home in self.homes]
        counts, velocity = np.array([len(each) for each in todo]), np.zeros_like(found)
        losses = np.zeros(len(todo))
        for k in range(counts.max()):
            busy = counts > k
            each = [batches[min(k, len(batches) - 1)] for batches in todo]
            gradients = [step(row) for step, row in zip(each, found, strict=True)]
            stacked = np.stack([gradient.trained for gradient in gradients])
            direction = rule(stacked, found) if rule else stacked
            velocity = steps.momentum * velocity + direction
            found -= np.where(busy[:, None], steps.lr * velocity, 0.0)
            losses += np.where(busy, [gradient.loss for gradient in gradients], 0.0)
        return Trained(found, counts, losses / counts)

    def loss(self, params: Any) -> Any:
        rows = np.broadcast_to(params, (len(self.homes), params.shape[-1]))
        return np.array([home.loss(row) for home, row in zip(self.homes, rows, strict=True)])


ALGORITHMS = [
    tacit.fedavg(lr=0.05, batch=4),
    tacit.fedadagrad(lr=0.05, batch=4),
    tacit.fedyogi(lr=0.05, batch=4),
    tacit.fedprox(lr=0.05, mu=0.5, batch=4, local_momentum=0.5),
    tacit.scaffold(lr=0.05, steps=5, batch=4),
    tacit.fednova(lr=0.02, batch=4, local_momentum=0.5, epochs=2),
    tacit.feddyn(lr=0.05, alpha=0.3, batch=4),
    tacit.qffl(lr=0.05, q=1.5, batch=4),
    tacit.ifca(lr=0.05, clusters=3, spread=2.0, batch=4),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.kind)
@pytest.mark.parametrize("broadcast", [False, True])
def test_a_block_of_clients_is_visited_as_each_alone(algorithm: Any, broadcast: bool) -> None:
    task = tacit.numpy.ridge_regression(l2=L2).build(tacit.arrays(shape=(3,)))
    held = [Examples(*pair) for pair in clients().values()]
    parts, draw = algorithm.build(), np.random.default_rng(0)
    sent = parts.offer(parts.start(draw.normal(size=4)))
    memory: Any = None
    memories: list[Any] = [None] * len(held)
    for turn in range(3):
        homes = tuple(Home(task, one, Key.seed(turn) / i) for i, one in enumerate(held))
        alone = [parts.visit(sent, memories[i], home) for i, home in enumerate(homes)]
        wide = {n: np.tile(v, (len(held), 1)) for n, v in sent.items()} if broadcast else sent
        together, memory = parts.visit(wide, memory, Block(homes))
        memories = [kept for _, kept in alone]
        for i, (one, kept) in enumerate(alone):
            assert_equal(one, together, i)
            assert kept is None or np.allclose(kept, memory[i], atol=1e-12)
        sent = {name: vector + 0.1 * draw.normal(size=4) for name, vector in sent.items()}


def assert_equal(one: Contribution, together: Contribution, i: int) -> None:
    assert one.update.shape == together.update[i].shape
    assert np.allclose(one.update, together.update[i], atol=1e-12)
    assert np.allclose(one.loss, together.loss[i])
    for name, value in one.extra.items():
        assert value.shape == together.extra[name][i].shape
        assert np.allclose(value, together.extra[name][i])
