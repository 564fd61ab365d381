"""What tests of personalised algorithms share: data, a federation, each method, plain steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples
from tacit.plan.federation import Federation

ROUNDS = 3
HEAD = ("weight1", "bias1")
MAKERS: dict[str, Callable[[], Any]] = {
    "apfl": lambda: tacit.apfl(lr=0.2, alpha=0.3, batch=4, shuffle=False),
    "ditto": lambda: tacit.ditto(lr=0.2, strength=0.5, batch=4, own_epochs=2, shuffle=False),
    "fedper": lambda: tacit.fedper(lr=0.2, personal=HEAD, batch=4, shuffle=False),
    "fedrep": lambda: tacit.fedrep(lr=0.2, personal=HEAD, batch=4, head_epochs=2, shuffle=False),
    "finetune": lambda: tacit.finetune(lr=0.2, batch=4, own_epochs=3, shuffle=False),
}


def data(count: int = 3, flip: bool = True) -> dict[str, tuple[Any, Any]]:
    draw = np.random.default_rng(0)
    held = {}
    for i in range(count):
        x = draw.normal(size=(6 + 5 * i, 3))
        held[f"c{i}"] = (x, ((x[:, 0] > 0) ^ (flip and i % 2)).astype(np.int64))
    return held


def federation(algorithm: Any, **changes: Any) -> Federation:
    base = Federation(
        task=tacit.numpy.mlp(hidden=(4,)),
        clients=3,
        data=tacit.arrays((3,), 2),
        algorithm=algorithm,
        rounds=ROUNDS,
    )
    return base.replace(**changes)


class Reference:
    """The pieces of the papers' pseudo-code: a gradient a batch, and the weighted mean."""

    def __init__(self) -> None:
        self.plan = federation(tacit.fedavg(lr=0.2)).plan()
        self.task, self.layout = self.plan.task, self.plan.task.layout
        self.start = self.task.start(Key.seed(0) / "start")
        home = Key.seed(0) / "home" / self.layout.digest
        self.home = self.task.start(home)
        self.held = [Examples(*one) for one in data().values()]
        sizes = np.array([one.count for one in self.held])
        self.shares = sizes / sizes.sum()
        self.head = np.zeros(self.layout.size, bool)
        self.layout.unpack(self.head)["weight1"][...] = True
        self.layout.unpack(self.head)["bias1"][...] = True

    def batches(self, client: int, epochs: int = 1) -> list[Examples]:
        held = self.held[client]
        return [held.take(slice(i, i + 4)) for i in range(0, held.count, 4)] * epochs

    def grad(self, params: Any, batch: Examples) -> Any:
        return self.task.grad(params, batch, Key.seed(0)).trained
