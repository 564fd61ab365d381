"""Researchers and operators against the true coordinator; agents through stop and resume."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.client.agent import Agent
from tacit.deploy.client.home import Home
from tacit.deploy.client.join import join
from tacit.deploy.client.transport import Refused, SignedTransport, Wire
from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.identity.keys import Identity
from tacit.deploy.remote import Remote
from tacit.deploy.wire.messages import Role
from tacit.sim.simulate import simulate
from tests.deploy.client.fake import Drawing, worked
from tests.deploy.client.test_client_agent import text_of
from tests.deploy.client.test_client_whole import PLANS, Asgi, Sites, begun
from tests.deploy.client.virtual import VirtualClock, played
from tests.deploy.coordinator.scene import World
from tests.deploy.coordinator.test_coordinator_bits import clients, federation

URL = "https://coordinator:8443"


def remote_of(world: World, who: Identity) -> Remote:
    wire = SignedTransport(URL, Asgi(world), who, world.clock, os.urandom)
    return Remote(wire, os.urandom, who.sign)


async def people(folder: Path) -> None:
    world = World(folder, clock=VirtualClock())  # type: ignore[arg-type]  # it jumps
    await world.here.start()
    operator = remote_of(world, world.person("olga", Role.OPERATOR))
    invited = await operator.invite(Role.CLIENT, "clinic", 1.0)
    text = Invitation(URL, "SHA256:" + "a" * 43, invited.code, Role.CLIENT, "clinic").text()

    async def reach(invitation: Invitation) -> tuple[str, Wire]:
        return "", Asgi(world)

    home = Home(folder / "clinic")
    known = await join(text, home, world.clock, os.urandom, reach=reach)
    assert known.id in {member.id for member in (await operator.members()).members}
    clinic = remote_of(world, Identity.load(home.key))
    assert (await clinic.peers()).peers == ()
    assert (await clinic.hello()).now == world.clock.now()
    with pytest.raises(Refused) as used:
        await join(text, Home(folder / "other"), world.clock, os.urandom, reach=reach)
    assert used.value.code.endswith("used") and not (folder / "other").exists()
    await operator.revoke(known.id)
    with pytest.raises(Refused) as revoked:
        await clinic.peers()
    assert revoked.value.status == 401


def test_invite_join_revoke(tmp_path: Path) -> None:
    played(people(tmp_path))


async def stopped(folder: Path) -> Any:
    world, remote, homes, ticking = await begun(folder)
    described = federation(rounds=6)
    names = [f"site {place}" for place in range(4)]
    with pytest.raises(TacitError) as simulated:
        await remote.submit(PLANS["secure_sum"], name="a", dataset="data")
    assert simulated.value.code == "deploy.secure-sum-simulated"
    fact = await remote.submit(described, name="a", dataset="data", clients=names, seed=11)
    again = await remote.submit(
        described, name="a", dataset="data", clients=names, seed=11, run=fact.id
    )
    assert again.id == fact.id and [one.id for one in await remote.runs()] == [fact.id]
    sites = Sites(world, homes, clients(4), {})
    for place in range(4):
        sites.start(place)
    async for event in remote.follow(fact.id):
        if event.kind == "closed":
            break
    assert (await remote.stop(fact.id)).status == "stopped"
    await asyncio.sleep(100)
    assert (await remote.resume(fact.id)).status != "stopped"
    told = [event.text async for event in remote.follow(fact.id)]
    result = await remote.result(fact.id)
    assert result.status == "finished", told
    assert (await remote.show(fact.id)).run.status == "finished"
    for place in range(4):
        await sites.kill(place)
    ticking.cancel()
    return (await remote.fetch(result, folder / "model")).read_bytes(), described


def test_a_run_that_is_stopped_and_resumed_keeps_its_bits(tmp_path: Path) -> None:
    model, described = played(stopped(tmp_path))
    assert simulate(described, clients(4), seed=11).params.tobytes() in model


async def refused_first(folder: Path) -> None:
    world, remote, homes, ticking = await begun(folder)
    open_policy = homes[0].policy.read_text("utf-8")
    homes[0].policy.write_text("researchers = []\n", "utf-8")
    names = [f"site {place}" for place in range(4)]
    fact = await remote.submit(federation(), name="a", dataset="data", clients=names, seed=11)
    sites = Sites(world, homes, clients(4), {})
    for place in range(4):
        sites.start(place)
    refusals: Any = ()
    while not refusals:
        await asyncio.sleep(1)
        refusals = (await remote.show(fact.id)).refusals
    assert "is not allowed here" in str(refusals)
    homes[0].policy.write_text(open_policy, "utf-8")
    _ = [event async for event in remote.follow(fact.id)]
    detail = await remote.show(fact.id)
    assert detail.run.status == "finished" and detail.run.joined == 4
    for place in range(4):
        await sites.kill(place)
    ticking.cancel()


def test_an_owner_who_changes_the_policy_joins_after_all(tmp_path: Path) -> None:
    played(refused_first(tmp_path))


async def skewed(folder: Path, ahead: float) -> Home:
    world, _, homes, ticking = await begun(folder)
    home, clock = homes[0], VirtualClock(ahead)
    wire = SignedTransport(URL, Asgi(world), Identity.load(home.key), clock, os.urandom)
    runner = Drawing(os.urandom)
    agent = Agent(home, wire, clock, runner, os.urandom, lambda home: ("data",))
    await worked(agent, lambda: False, 120.0)
    ticking.cancel()
    return home


@pytest.mark.parametrize(("ahead", "where"), [(3600.0, "ahead of"), (-3600.0, "behind")])
def test_a_clock_that_is_an_hour_off_is_told_once(tmp_path: Path, ahead: float, where: str) -> None:
    said = text_of(played(skewed(tmp_path, ahead)))
    assert said.count(f"clock is 3600 seconds {where} the coordinator's") == 1
