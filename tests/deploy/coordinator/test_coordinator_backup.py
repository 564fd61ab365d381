"""Backup and restore as `docs/how-to/operate.md` says it, and what a backup that is too old costs."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.deploy.client import database
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Home
from tacit.deploy.remote import Remote, over
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import open_database
from tacit.deploy.wire.packs import read_pack
from tacit.sim.simulate import simulate
from tests.deploy.client.test_client_whole import Sites, begun, clients
from tests.deploy.client.virtual import played
from tests.deploy.coordinator.scene import World
from tests.deploy.coordinator.test_coordinator_bits import federation
from tests.deploy.postgres import PostgresServer, postgres_server, program

__all__ = ["postgres_server"]

NAMES = [f"site {place}" for place in range(4)]
PLAN = federation(rounds=9)


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(p.replace("synchronous=FULL", "synchronous=OFF") for p in database._PRAGMAS)
    monkeypatch.setattr(database, "_PRAGMAS", quick)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@dataclass
class Scene:
    """Four agents and a coordinator that can be lost."""

    world: World
    remote: Remote
    homes: list[Home]
    ticking: asyncio.Task[None]
    server: PostgresServer | None = None
    runs: list[str] = field(default_factory=list)

    async def submit(self, name: str = "a run") -> str:
        fact = await self.remote.submit(PLAN, name=name, dataset="data", clients=NAMES, seed=11)
        self.runs.append(fact.id)
        return fact.id

    async def reach(self, run: str, rounds: int) -> None:
        while (await self.remote.show(run)).run.round < rounds:
            await asyncio.sleep(0.001)

    async def ended(self, run: str) -> str:
        while not over((await self.remote.show(run)).run.status):
            await asyncio.sleep(1.0)
        return (await self.remote.show(run)).run.status

    async def params(self, run: str) -> np.ndarray[Any, Any]:
        result = await self.remote.result(run)
        path = await self.remote.fetch(result, self.world.folder / f"{run}.model")
        return np.array(read_pack(path)["params"])

    async def stop(self) -> None:
        """A graceful end, as of `systemctl stop`."""
        self.ticking.cancel()
        await self.world.here.drain(10.0)
        await self.world.here.close()
        self.world.database.close()

    def lose(self) -> None:
        """Nothing is left of the coordinator's files."""
        for path in (*self.world.folder.glob("tacit.db*"), *self.world.folder.glob("[bs]?o*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert not [path for path in self.world.folder.iterdir() if path.name[:4] != "site"]

    async def start(self, folder: Path, url: str) -> None:
        world = self.world
        world.database = open_database(url)
        world.blobs = Blobs(folder / "blobs", folder / "spool", reserve=0)
        world.here = world._new()
        await world.here.start()
        self.ticking = asyncio.ensure_future(world.here.keep_time())


@asynccontextmanager
async def scene(folder: Path, url: str = "") -> AsyncIterator[Scene]:
    folder.mkdir()
    made = Scene(*await begun(folder))
    if url:
        await made.stop()
        moved = open_database(url)
        moved.close()
        await made.start(folder, url)
        for name in (*NAMES, "ruth"):
            made.world.person(name, ROLES.get(name, Role.CLIENT))
    sites = Sites(made.world, made.homes, clients(4), {})
    for place in range(4):
        sites.start(place)
    try:
        yield made
    finally:
        for place in range(4):
            await sites.kill(place)
        made.ticking.cancel()
        with suppress(asyncio.CancelledError):
            await made.ticking
        await made.world.here.driver.cancel()
        made.world.database.close()
