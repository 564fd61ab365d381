"""Backup and restore as `docs/how-to/operate.md` tells it, and what an old backup costs."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tacit.deploy.client import database
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Home
from tacit.deploy.client.records import Records
from tacit.deploy.remote import Remote, over
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import open_database
from tacit.deploy.wire.packs import read_pack
from tacit.sim.simulate import simulate
from tests.deploy.client.test_client_whole import Sites, begun
from tests.deploy.client.virtual import played
from tests.deploy.coordinator.scene import World
from tests.deploy.coordinator.test_coordinator_bits import clients, federation
from tests.deploy.postgres import PostgresServer, postgres_server, program

__all__ = ["postgres_server"]

NAMES = [f"site {place}" for place in range(4)]
PLAN = federation(rounds=9)

LONG = 1000.0
"""Virtual seconds: nothing takes so long."""


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(p.replace("synchronous=FULL", "synchronous=OFF") for p in database._PRAGMAS)
    monkeypatch.setattr(database, "_PRAGMAS", quick)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@dataclass
class Scene:
    """Four agents that work all the time, and a coordinator that is lost and restored."""

    world: World
    remote: Remote
    homes: list[Home]
    ticking: asyncio.Task[None]

    async def submit(self, name: str = "a run") -> str:
        done = await self.remote.submit(PLAN, name=name, dataset="data", clients=NAMES, seed=11)
        return done.id

    async def reach(self, run: str, rounds: int) -> None:
        async with asyncio.timeout(LONG):
            while (await self.remote.show(run)).run.round < rounds:
                await asyncio.sleep(0.001)

    async def ended(self, run: str) -> str:
        async with asyncio.timeout(LONG):
            while not over((await self.remote.show(run)).run.status):
                await asyncio.sleep(1.0)
        return (await self.remote.show(run)).run.status

    async def params(self, run: str) -> np.ndarray[Any, Any]:
        result = await self.remote.result(run)
        path = await self.remote.fetch(result, self.world.folder / f"{run}.model")
        return np.array(read_pack(path)["params"])

    async def tried(self, run: str) -> set[str]:
        """Codes of all turns that failed."""
        told = (await self.remote.events(run)).events
        return {line.body["code"] for line in told if line.kind == "tried"}

    async def stop(self) -> None:
        """A graceful end, as of `systemctl stop`."""
        self.ticking.cancel()
        await self.world.here.drain(10.0)
        await self.world.here.close()
        self.world.database.close()

    async def destroy(self) -> None:
        """The machine is gone, whatever it was doing."""
        self.ticking.cancel()
        await self.world.here.driver.cancel()
        self.world.database.close()
        for folder in ("blobs", "spool"):
            shutil.rmtree(self.world.folder / folder, ignore_errors=True)
        for file in self.world.folder.glob("tacit.db*"):
            file.unlink()

    async def start(self, backup: Path, url: str) -> None:
        """Another machine, with what the backup holds."""
        world = self.world
        shutil.copytree(backup, world.folder, dirs_exist_ok=True)
        world.database = open_database(url)
        world.blobs = Blobs(world.folder / "blobs", world.folder / "spool", reserve=0)
        world.here = world._new()
        await world.here.start()
        self.ticking = asyncio.ensure_future(world.here.keep_time())

    def instant(self, backup: Path) -> None:
        """A snapshot of everything at one moment: nothing else runs meanwhile."""
        shutil.copytree(self.world.folder / "blobs", backup / "blobs")
        with closing(sqlite3.connect(self.world.folder / "tacit.db")) as kept:
            kept.execute("VACUUM INTO ?", (str(backup / "tacit.db"),))


@asynccontextmanager
async def scene(folder: Path, url: str = "") -> AsyncIterator[Scene]:
    folder.mkdir()
    made = Scene(*await begun(folder, url))
    sites = Sites(made.world, made.homes, clients(4), {})
    for place in range(4):
        sites.start(place)
    try:
        yield made
    finally:
        for place in range(4):
            await sites.kill(place)
        made.ticking.cancel()
        await made.world.here.driver.cancel()
        made.world.database.close()


def exact() -> bytes:
    return simulate(PLAN, clients(4), seed=11).params.tobytes()


def url_of(place: Path) -> str:
    return f"sqlite:///{place}/tacit.db"


def test_what_was_stopped_and_copied_goes_on_elsewhere_to_the_same_bits(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with scene(tmp_path / "here") as found:
            name = await found.submit()
            await found.reach(name, 4)
            await found.stop()
            shutil.copytree(found.world.folder / "blobs", tmp_path / "backup" / "blobs")
            for file in found.world.folder.glob("tacit.db*"):
                shutil.copy(file, tmp_path / "backup")
            await found.destroy()
            await asyncio.sleep(3600.0)
            await found.start(tmp_path / "backup", url_of(found.world.folder))
            assert await found.ended(name) == "finished"
            assert await found.tried(name) == set()
            return (await found.params(name)).tobytes()

    assert played(run()) == exact()


def test_the_same_with_postgresql_and_pg_dump(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    first, second = postgres_server.fresh(), postgres_server.fresh()

    async def run() -> bytes:
        async with scene(tmp_path / "here", first) as found:
            name = await found.submit()
            await found.reach(name, 4)
            await found.stop()
            dump = pg("pg_dump", "--format=custom", postgres_server, first)
            shutil.copytree(found.world.folder / "blobs", tmp_path / "backup" / "blobs")
            await found.destroy()
            pg("pg_restore", "--exit-on-error", postgres_server, second, dump)
            await found.start(tmp_path / "backup", second)
            assert await found.ended(name) == "finished"
            return (await found.params(name)).tobytes()

    assert played(run()) == exact()


def pg(what: str, option: str, server: PostgresServer, url: str, given: bytes = b"") -> bytes:
    """The standard output of pg_dump or pg_restore."""
    name = url.partition("?")[0].rpartition("/")[2]
    place = [f"--host={server.folder}", "--username=tacit", f"--dbname={name}"]
    done = subprocess.run(
        [program(what), option, *place], input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_snapshot_of_one_moment_is_as_good(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with scene(tmp_path / "here") as found:
            name = await found.submit()
            await found.reach(name, 4)
            (tmp_path / "backup").mkdir()
            found.instant(tmp_path / "backup")
            await found.destroy()
            await found.start(tmp_path / "backup", url_of(found.world.folder))
            assert await found.ended(name) == "finished"
            return (await found.params(name)).tobytes()

    assert played(run()) == exact()


@pytest.mark.parametrize(("lost", "first"), [(2, "finished"), (4, "failed")])
def test_rounds_that_clients_answered_after_the_backup_are_lost_and_never_answered_twice(
    tmp_path: Path, lost: int, first: str
) -> None:
    async def run() -> None:
        async with scene(tmp_path / "here") as found:
            name = await found.submit()
            await found.reach(name, 2)
            (tmp_path / "backup").mkdir()
            found.instant(tmp_path / "backup")
            await found.reach(name, 2 + lost)
            before = [answers_of(home, name) for home in found.homes]
            await found.destroy()
            await found.start(tmp_path / "backup", url_of(found.world.folder))
            assert await found.ended(name) == first
            if first == "failed":
                await found.remote.resume(name)
                assert await found.ended(name) == "finished"
            assert await found.tried(name) == {"client.settled", "round.offer-changed"}
            told = (await found.remote.show(name)).history
            assert len(told) < PLAN.rounds
            for home, old in zip(found.homes, before, strict=True):
                assert old.items() <= answers_of(home, name).items()

    played(run())


def answers_of(home: Home, run: str) -> dict[int, str]:
    """What a client ever answered: the digest of each round."""
    with closing(open_ledger(home)) as ledger:
        held = (Records(ledger).answer(run, round_) for round_ in range(PLAN.rounds))
        return {one.round: one.digest for one in held if one is not None}


WANTS: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("offer", lambda held: "params" in held),
    ("state", lambda held: "own" in held),
]


@pytest.mark.parametrize(("what", "wanted"), WANTS)
def test_a_run_whose_file_is_lost_ends_and_no_other(
    tmp_path: Path, what: str, wanted: Callable[[dict[str, Any]], bool]
) -> None:
    async def run() -> None:
        async with scene(tmp_path / "here") as found:
            name = await found.submit()
            await found.reach(name, 4)
            (tmp_path / "backup").mkdir()
            found.instant(tmp_path / "backup")
            files = list((tmp_path / "backup" / "blobs").glob("??/*"))
            lost = [file for file in files if is_pack(file) and wanted(read_pack(file))]
            assert lost, what
            for file in lost:
                file.unlink()
            await found.destroy()
            await found.start(tmp_path / "backup", url_of(found.world.folder))
            assert await found.ended(name) == "failed"
            told = (await found.remote.show(name)).run.why
            assert lost[0].name in told
            other = await found.submit("another run")
            assert await found.ended(other) == "finished"
            assert (await found.params(other)).tobytes() == exact()

    played(run())


def is_pack(file: Path) -> bool:
    return file.read_bytes().startswith(b"TACIT")
