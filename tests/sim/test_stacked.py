"""The stacked backend gives the exact one's numbers: every algorithm, ragged sizes, any chain."""

from __future__ import annotations

from typing import Any

import pytest

import tacit
from tacit.learn.algorithm import AlgorithmSpec
from tests.sim.stacking import algorithms, apart, both, data, federation

TASKS: dict[str, tuple[Any, int]] = {
    "logistic": (tacit.numpy.logistic_regression(), 3),
    "binary": (tacit.numpy.logistic_regression(l2=0.01), 2),
    "mlp": (tacit.numpy.mlp((6, 5), l2=0.01), 4),
}


PAIRS = [
    pytest.param(one, task, id=f"{one.kind}-{task}")
    for one in algorithms("weight0").values()
    for task in TASKS
    if task == "mlp" or one.kind != "moon"  # it needs a hidden layer
]


@pytest.mark.parametrize(("algorithm", "task"), PAIRS)
def test_every_algorithm(algorithm: AlgorithmSpec, task: str) -> None:
    model, classes = TASKS[task]
    if task != "mlp" and algorithm.kind in {"fedper", "fedrep"}:
        algorithm = type(algorithm)(lr=0.1, personal=("bias0",), batch=5)  # type: ignore[call-arg]  # both have it
    exact, stacked, backend = both(
        federation(model, (4,), classes, algorithm=algorithm), data((4,), classes)
    )
    assert "blocks" in backend.says and backend.block_of
    assert apart(exact, stacked) < 1e-9
    for one, two in zip(exact.history, stacked.history, strict=True):
        assert one == pytest.approx(two, rel=1e-9, nan_ok=True)
