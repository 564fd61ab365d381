"""True agents and the true coordinator in virtual time end with the exact engine's bits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.deploy.client import database
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.home import Coordinator, Home, coordinator_text
from tacit.deploy.client.in_process import InProcess
from tacit.deploy.client.records import Records
from tacit.deploy.client.roster import Approved
from tacit.deploy.client.transport import Request, Response, SignedTransport, received
from tacit.deploy.identity.keys import Identity, pem_of, write_secret
from tacit.deploy.remote import Remote, over
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import read_pack
from tacit.learn.examples import Examples, NamedClients
from tacit.plan.build import Plan
from tacit.sim.exact import held_by
from tacit.sim.simulate import simulate
from tests.deploy.client.virtual import VirtualClock, played
from tests.deploy.coordinator.scene import World, send
from tests.deploy.coordinator.test_coordinator_bits import clients, federation

POLICY = 'researchers = ["ruth"]\nhidden_answers = false\nrehearsals = true\n'


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = tuple(p.replace("synchronous=FULL", "synchronous=OFF") for p in database._PRAGMAS)
    monkeypatch.setattr(database, "_PRAGMAS", quick)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@dataclass
class Asgi:
    """A wire into the application of a world."""

    world: World
    sent: int = 0

    async def exchange(
        self, request: Request, content: bytes, headers: Mapping[str, str]
    ) -> Response:
        await asyncio.sleep(0.001)
        self.sent += 1
        one = (request.method, request.path, request.query, content, dict(headers))
        reply = await send(self.world.app, *one)
        body = received(request, reply.status, iter([reply.body]))
        return Response(reply.status, reply.headers, body)

    async def close(self) -> None:
        """Nothing is open."""


def home_of(world: World, folder: Path, name: str) -> Home:
    home = Home(folder / name)
    home.make_folders()
    me = world.person(name, Role.CLIENT)
    facts = Coordinator("https://coordinator", me.id, name, "client", "", "")
    home.coordinator.write_text(coordinator_text(facts), "utf-8")
    home.policy.write_text(POLICY, "utf-8")
    write_secret(home.key, pem_of(me._secret))
    return home


@dataclass
class Sites:
    """Four agents; each may be killed and started again."""

    world: World
    homes: list[Home]
    data: NamedClients
    tasks: dict[int, asyncio.Task[None]]

    def start(self, index: int) -> None:
        def held(dataset: str, plan: Plan) -> Examples:
            assert dataset == "data"
            return held_by(plan, self.data, index)

        home, clock = self.homes[index], self.world.clock
        me = Identity.load(home.key)
        wire = SignedTransport("https://coordinator", Asgi(self.world), me, clock, os.urandom)
        runner = InProcess(held)
        agent = Agent(home, wire, clock, runner, os.urandom, lambda home: ("data",))
        self.tasks[index] = asyncio.ensure_future(agent.run())

    async def kill(self, index: int) -> None:
        task = self.tasks.pop(index)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def begun(
    folder: Path, url: str = ""
) -> tuple[World, Remote, list[Home], asyncio.Task[None]]:
    """A coordinator, a researcher, and four homes whose owners approved one another."""
    world = World(folder, clock=VirtualClock(), url=url)  # type: ignore[arg-type]  # it jumps
    await world.here.start()
    ticking = asyncio.ensure_future(world.here.keep_time())
    names = [f"site {place}" for place in range(4)]
    homes = [home_of(world, folder, name) for name in names]
    for home in homes:
        ledger = open_ledger(home)
        for name in names:
            who = world.people[name]
            Records(ledger).approve(Approved(who.id, who.public, name, 0.0), "approved.")
        ledger.close()
    ruth = world.person("ruth", Role.RESEARCHER)
    wire = SignedTransport("https://coordinator", Asgi(world), ruth, world.clock, os.urandom)
    return world, Remote(wire, os.urandom, ruth.sign), homes, ticking


async def rehearsed(
    folder: Path, described: tacit.Federation, kills: list[tuple[float, int]]
) -> np.ndarray[Any, Any]:
    world, remote, homes, ticking = await begun(folder)
    names = [f"site {place}" for place in range(4)]
    fact = await remote.submit(described, name="a run", dataset="data", clients=names, seed=11)
    sites = Sites(world, homes, clients(4), {})
    for place in range(4):
        sites.start(place)
    for after, place in kills:
        await asyncio.sleep(after)
        await sites.kill(place)
        sites.start(place)
    told = [event.text async for event in remote.follow(fact.id)]
    result = await remote.result(fact.id)
    assert over(result.status) and result.status == "finished", told
    model = await remote.fetch(result, folder / "model")
    for place in range(4):
        await sites.kill(place)
    ticking.cancel()
    await world.here.driver.cancel()
    return np.array(read_pack(model)["params"])


PLANS = {
    "plain": federation(),
    "scaffold": federation(algorithm=tacit.scaffold(lr=0.1, steps=3, batch=8)),
    "secure_sum": federation(protect=tacit.secure_average(clip=1.0, cap=100)),
    "fedper": federation(algorithm=tacit.fedper(lr=0.1, batch=8, personal=("*1",))),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_rehearsal_has_the_bits_of_the_exact_engine(tmp_path: Path, name: str) -> None:
    found = played(rehearsed(tmp_path, PLANS[name], []))
    exact = simulate(PLANS[name], clients(4), seed=11).params
    assert found.tobytes() == exact.tobytes()


@pytest.mark.parametrize("shift", range(4))
def test_killed_clients_change_no_bit(tmp_path: Path, shift: int) -> None:
    kills = [(0.0007 * (place + 1) * (shift + 1), place % 4) for place in range(8)]
    found = played(rehearsed(tmp_path, PLANS["scaffold"], kills))
    exact = simulate(PLANS["scaffold"], clients(4), seed=11).params
    assert found.tobytes() == exact.tobytes()
