"""A rehearsal through the coordinator ends with the bits of the exact engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.learn.examples import Examples, NamedClients
from tacit.sim.simulate import simulate
from tests.deploy.coordinator.scene import World, rehearse


def clients(count: int, features: int = 5, classes: int = 3) -> NamedClients:
    rng = np.random.default_rng(7)
    held = tuple(
        Examples(rng.normal(size=(20 + i, features)), rng.integers(0, classes, 20 + i))
        for i in range(count)
    )
    return NamedClients(tuple(f"site {i}" for i in range(count)), held)


def federation(**changes: Any) -> tacit.Federation:
    usual: dict[str, Any] = {
        "task": tacit.numpy.mlp((4,)),
        "clients": 4,
        "data": tacit.arrays((5,), 3),
        "algorithm": tacit.fedavg(lr=0.1, batch=8),
        "rounds": 3,
    }
    return tacit.Federation(**(usual | changes))


CASES: dict[str, tacit.Federation] = {
    "plain": federation(),
    "metrics": federation(metrics=("loss", "accuracy")),
    "secure_sum": federation(protect=tacit.secure_average(clip=1.0, cap=100)),
    "record_dp": federation(
        algorithm=tacit.fedsgd(0.5), protect=tacit.record_dp(3.0, 1e-5, clip=1.0, sample=0.5)
    ),
    "central_dp": federation(protect=tacit.central_dp(30.0, 1e-5, clip=1.0)),
    "fedavgm": federation(algorithm=tacit.fedavg(lr=0.1, batch=8, momentum=0.9)),
    "fedadam": federation(algorithm=tacit.fedadam(lr=0.1, batch=8)),
    "scaffold": federation(algorithm=tacit.scaffold(lr=0.1, steps=3, batch=8)),
    "fedper": federation(algorithm=tacit.fedper(lr=0.1, batch=8, personal=("*1",))),
    "partial": federation(cohort=tacit.fixed(2), rounds=5),
    "top_k": federation(protect=(tacit.top_k(0.5), tacit.plain_sum(), tacit.mean())),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rehearsal_has_the_bits_of_the_exact_engine(name: str, tmp_path: Path) -> None:
    plan = CASES[name]
    found = asyncio.run(rehearse(World(tmp_path), plan, clients(4), seed=11))
    exact = simulate(plan, clients(4), seed=11).params
    assert found.dtype == exact.dtype
    assert found.tobytes() == exact.tobytes()


@pytest.mark.parametrize("name", ["plain", "scaffold", "secure_sum", "partial"])
def test_restarts_between_any_two_steps_change_no_bit(name: str, tmp_path: Path) -> None:
    plan, world = CASES[name], World(tmp_path)
    found = asyncio.run(rehearse(world, plan, clients(4), 11, disturb=world.again))
    assert found.tobytes() == simulate(plan, clients(4), seed=11).params.tobytes()


def test_buffered_rounds_end_and_restarts_change_no_bit(tmp_path: Path) -> None:
    buffered = federation(
        algorithm=tacit.fedbuff(lr=0.1, batch=8), cohort=tacit.buffered(2, 3), rounds=6
    )
    calm = World(tmp_path / "calm")
    shaken = World(tmp_path / "shaken")
    first = asyncio.run(rehearse(calm, buffered, clients(4), 5))
    again = asyncio.run(rehearse(shaken, buffered, clients(4), 5, disturb=shaken.again))
    assert first.tobytes() == again.tobytes()
    assert np.isfinite(first).all()
