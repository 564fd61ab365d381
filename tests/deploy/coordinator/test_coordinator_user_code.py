"""A coordinator drives user code without ever loading it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tacit
from tacit.deploy.coordinator import closing
from tacit.deploy.coordinator.outline import outline_of
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import pack_bytes
from tacit.learn import code
from tacit.sim.simulate import simulate
from tests.deploy.coordinator.scene import World, rehearse, submission
from tests.deploy.coordinator.test_coordinator_bits import clients, federation

RUN = "ab" * 16


def with_code(**changes: Any) -> tacit.Federation:
    task = tacit.torch.task("tests.deploy.coordinator.batch_norm:model")
    return federation(task=task, rounds=2, **changes)


@pytest.mark.parametrize(
    "algorithm",
    [
        tacit.fedavg(lr=0.1, batch=8),
        tacit.fedbn(lr=0.1, batch=8),
        tacit.moon(lr=0.1, batch=8),
    ],
    ids=lambda algorithm: algorithm.kind,
)
def test_buffers_and_user_code_have_the_bits_of_the_exact_engine(
    algorithm: Any, tmp_path: Path
) -> None:
    assert torch.get_num_threads() >= 1
    plan = with_code(algorithm=algorithm)
    found = asyncio.run(rehearse(World(tmp_path), plan, clients(4), seed=11))
    assert found.tobytes() == simulate(plan, clients(4), seed=11).params.tobytes()


def test_the_coordinator_loads_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = with_code()
    own = plan.plan()
    outline = outline_of(own)

    def load(*_: object) -> None:
        raise AssertionError("user code was loaded")

    monkeypatch.setattr(code, "_find", load)
    monkeypatch.setattr(code, "_REMEMBERED", {})
    planned = closing.planned(plan.plain, plan.digest, outline)
    assert planned.layout == own.layout
    assert planned.message == own.message


def test_starts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.person("ruth", Role.RESEARCHER)
        plan = with_code()
        bare = {**submission(plan, RUN), "outline": None}
        assert (await world.ask("ruth", "POST", "/v1/runs", bare)).code == "deploy.outline"
        for outline in ({}, {"layout": {"tensors": [], "dtype": "object"}}, {"layout": 3}):
            odd = {**bare, "outline": outline}
            refused = await world.ask("ruth", "POST", "/v1/runs", odd)
            assert 400 <= refused.status < 500, refused.body
        made = await world.ask("ruth", "POST", "/v1/runs", submission(plan, RUN))
        assert made.status == 200
        size = plan.plan().layout.size
        good = np.zeros(size, np.float32)
        nan = np.full(size, np.nan, np.float32)
        for tree in (good, {"params": good[:-1]}, {"params": good.astype(float)}, {"params": nan}):
            assert await _upload(world, pack_bytes(tree)) == "deploy.start"
        assert await _upload(world, b"garbage") == "wire.pack"
        assert await _upload(world, pack_bytes({"params": good})) == ""
        assert await _upload(world, pack_bytes({"params": good})) == ""
        assert await _upload(world, pack_bytes({"params": good + 1})) == "deploy.no-start"

    asyncio.run(run())


async def _upload(world: World, raw: bytes) -> str:
    digest = hashlib.sha256(raw).hexdigest()
    query = f"digest={digest}&size={len(raw)}&offset=0"
    return (await world.ask("ruth", "PUT", f"/v1/runs/{RUN}/start?{query}", raw)).code
