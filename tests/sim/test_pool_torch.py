"""The pool on torch modules: one thread each, and modules that are hard to share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import tacit
from tacit.base.key import Key
from tacit.learn.examples import as_clients
from tacit.sim.dispatch import Dispatch
from tacit.sim.engine import run_plan
from tacit.sim.pool import Processes
from tacit.sim.simulate import simulate
from tests.learn import torch_modules
from tests.sim.stacking import apart, data, federation

KEY = Key.seed(1)


@pytest.fixture(scope="module")
def crew() -> Iterator[Processes]:
    found = Processes(2)
    yield found
    found.close()


class Counting(torch_modules.Linear):
    """Its buffer says how many threads the process has that trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threads", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.threads = torch.tensor([float(torch.get_num_threads())])
        return super().forward(x)


def counting() -> torch.nn.Module:
    return Counting()


CASES: dict[str, tuple[Any, tuple[int, ...], int, Any]] = {
    "fedbn": (torch_modules.convolutional, (1, 8, 8), 4, tacit.fedbn(lr=0.1, batch=5)),
    "buffers": (torch_modules.convolutional, (1, 8, 8), 4, tacit.fedavg(lr=0.1, batch=5)),
    "dropout": (torch_modules.Dropping, (5,), 3, tacit.fedavg(lr=0.1, batch=5)),
    "two types": (torch_modules.Mixed, (5,), 3, tacit.scaffold(lr=0.1, steps=4, batch=5)),
}


@pytest.mark.parametrize("case", CASES)
def test_modules_and_their_state(crew: Processes, case: str) -> None:
    module, shape, classes, algorithm = CASES[case]
    plan = federation(tacit.torch.task(module), shape, classes, algorithm=algorithm).plan()
    held = [(x.astype(np.float32), y) for x, y in data(shape, classes)]
    clients = as_clients(held)
    crew.begin(plan, clients, KEY)
    backend = Dispatch(plan, clients, crew, lent=True)
    assert apart(run_plan(plan, clients, KEY), run_plan(plan, clients, KEY, backend=backend)) < 1e-6


def test_every_process_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_TORCH_THREADS", "2")
    federated = federation(tacit.torch.task(counting), (5,), 3, rounds=1)
    held = [(x.astype(np.float32), y) for x, y in data((5,), 3)]
    try:
        run = tacit.simulate(federated, held, engine="pool", workers=1)
    finally:
        torch.set_num_threads(1)
    assert run.model.params[-1] == pytest.approx(1.0)


def test_a_module_of_the_script_itself_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = tacit.torch.task(torch_modules.Linear)
    script = type(task)("__main__:net", task.source)
    plan = federation(task, (5,), 3).plan()
    object.__setattr__(plan.federation, "task", script)
    with pytest.raises(tacit.TacitError) as caught:
        simulate(plan, data((5,), 3), engine="pool", workers=1)
    assert caught.value.code == "run.worker-main" and "__main__:net" in caught.value.cause
    assert "module of its own" in caught.value.remedy
