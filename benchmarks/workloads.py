"""The workloads of the engine benchmarks, and the plain PyTorch loop that they are measured beside.

Sizes are lognormal, records normal numbers with labels drawn evenly, all by numpy from seed 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import tacit
from tacit.base.key import Key
from tacit.learn.examples import NamedClients, as_clients
from tacit.round.events import Opened
from tacit.sim.simulate import simulate

Vector = npt.NDArray[Any]

SPREAD = 0.6
"""Standard deviation of the logarithm of a client's size."""


@final
@dataclass(frozen=True)
class Workload:
    """Example-weighted federated averaging: one local epoch, no shuffle."""

    task: Any
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    mean: float
    cohort: int
    batch: int
    clients: int = 1000
    lr: float = 0.05
    dtype: Any = np.float32

    def data(self) -> NamedClients:
        """Every client's records."""
        draw = np.random.default_rng(0)
        sizes = draw.lognormal(np.log(self.mean) - SPREAD**2 / 2, SPREAD, self.clients)
        return as_clients(  # type: ignore[return-value]  # a list is held in memory
            [
                (
                    draw.standard_normal((n, *self.shape), self.dtype),
                    draw.integers(0, self.classes, n),
                )
                for n in np.clip(sizes.astype(int), 10, 400)
            ]
        )

    def federation(self, rounds: int, protect: Any = None) -> tacit.Federation:
        """The same in tacit's words."""
        return tacit.Federation(
            task=self.task,
            data=tacit.arrays(shape=self.shape, classes=self.classes),
            algorithm=tacit.fedavg(lr=self.lr, batch=self.batch, shuffle=False),
            clients=self.clients,
            cohort=tacit.fixed(size=self.cohort),
            rounds=rounds,
            **({} if protect is None else {"protect": protect}),
        )


class Convolutional(nn.Module):
    """Two convolutions, a pooling and two dense layers: 1.2 million weights for 28 x 28 images."""

    def __init__(self, classes: int = 62) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.dense1, self.dense2 = nn.Linear(9216, 128), nn.Linear(128, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = torch.max_pool2d(x, 2).flatten(1)
        return self.dense2(torch.relu(self.dense1(x)))  # type: ignore[no-any-return]  # torch types modules so


def softmax() -> nn.Module:
    """Logistic regression on 60 features."""
    return nn.Linear(60, 10)


def perceptron() -> nn.Module:
    """One hidden layer of 200."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 62))


def w1() -> Workload:
    """Logistic regression in numpy."""
    task = tacit.numpy.logistic_regression()
    return Workload(task, softmax, (60,), 10, 60, 100, 10)


def w1_torch() -> Workload:
    """The same with a torch module."""
    return Workload(tacit.torch.task(softmax), softmax, (60,), 10, 60, 100, 10)


def w2() -> Workload:
    """The convolutional network."""
    task = tacit.torch.task(Convolutional)
    return Workload(task, Convolutional, (1, 28, 28), 62, 100, 20, 20)


def w3() -> Workload:
    """The perceptron."""
    return Workload(tacit.torch.task(perceptron), perceptron, (1, 28, 28), 62, 100, 100, 20)


class Timed(NamedTuple):
    """A run's model and the seconds of its rounds, the first left out."""

    params: Vector
    seconds: tuple[float, ...]
    cohorts: tuple[tuple[int, ...], ...]
    notices: tuple[str, ...]


def ours(workload: Workload, data: Any, rounds: int, engine: str, protect: Any = None) -> Timed:
    """tacit's rounds."""
    moments: list[float] = []
    outcome = simulate(
        workload.federation(rounds, protect),
        data,
        progress=lambda _: moments.append(time.perf_counter()),
        engine=engine,
    )
    cohorts = tuple(e.cohort for e in outcome.journal if isinstance(e, Opened))
    seconds = tuple(np.diff(moments).tolist())
    return Timed(outcome.params, seconds, cohorts, outcome.notices)


def plain(workload: Workload, data: NamedClients, cohorts: Sequence[Sequence[int]]) -> Timed:
    """The loop that one writes by hand, on one thread: a module, `torch.optim.SGD`, a mean."""
    torch.set_num_threads(1)
    held = [(torch.from_numpy(x), torch.from_numpy(y)) for _, (x, y) in data]
    module, model = workload.make(), _start(workload)
    loss_of, moments = nn.CrossEntropyLoss(), [time.perf_counter()]
    for cohort in cohorts:
        total, records = torch.zeros_like(model), 0
        for client in cohort:
            x, y = held[client]
            _load(module, model)
            optimiser = torch.optim.SGD(module.parameters(), lr=workload.lr)
            for first in range(0, len(x), workload.batch):
                optimiser.zero_grad()
                few = slice(first, first + workload.batch)
                loss_of(module(x[few]), y[few]).backward()
                optimiser.step()
            with torch.no_grad():
                flat = nn.utils.parameters_to_vector(module.parameters())
                total.add_(flat, alpha=len(x))
            records += len(x)
        model = total / records
        moments.append(time.perf_counter())
    return Timed(
        model.numpy(), tuple(np.diff(moments)[1:].tolist()), tuple(map(tuple, cohorts)), ()
    )


def _load(module: nn.Module, model: torch.Tensor) -> None:
    with torch.no_grad():
        for parameter, part in zip(
            module.parameters(),
            torch.split(model, [p.numel() for p in module.parameters()]),
            strict=True,
        ):
            parameter.copy_(part.view(parameter.shape))


def _start(workload: Workload) -> torch.Tensor:
    """tacit's first model, as torch lays it out: numpy's weights are (in, out)."""
    plan = workload.federation(1).plan()
    vector = plan.start(Key.seed(0) / "start").astype(np.float32)
    return torch.from_numpy(as_torch(plan, vector))


def as_torch(plan: Any, vector: Vector) -> Vector:
    """A numpy network's vector in torch's order; a torch module's as it is."""
    if plan.federation.task.kind == "torch":
        return vector
    arrays = plan.layout.unpack(vector)
    return np.concatenate([np.ravel(one.T) for one in arrays.values()])
