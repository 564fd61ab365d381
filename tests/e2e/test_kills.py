"""SIGKILL at any moment: the run finishes, with the bits of a run that nobody disturbed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

import tacit
from tacit.deploy.clock import RealClock
from tacit.deploy.rehearse import DATASET, Rehearsal
from tacit.deploy.remote import Remote, open_remote
from tacit.deploy.wire.messages import EventFact
from tacit.deploy.wire.packs import read_pack
from tacit.plan.federation import Federation
from tests.e2e.world import NAMES, World, eventually, records

pytestmark = pytest.mark.xdist_group("e2e-kills")

ROUNDS, SEED = 24, 11


def federation() -> Federation:
    """A model that remembers things at its clients, so that memory is at stake too."""
    return tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(2,), classes=2),
        clients=len(NAMES),
        rounds=ROUNDS,
        algorithm=tacit.scaffold(lr=0.1, steps=5),
    )


async def disturbed(here: Rehearsal, remote: Remote, chance: random.Random) -> list[EventFact]:
    """Kill somebody in one round out of four, start them again, and follow to the end."""
    fact = await remote.submit(
        federation(), name="killed", dataset=DATASET, clients=tuple(here.sites), seed=SEED
    )
    rounds = sorted(chance.sample(range(1, ROUNDS - 1), 6))
    victims = [*here.sites, "coordinator", "coordinator", chance.choice(NAMES)]
    chance.shuffle(victims)
    lines: list[EventFact] = []
    async for event in remote.follow(fact.id):
        lines.append(event)
        if rounds and event.kind == "opened" and event.body["round"] >= rounds[0]:
            rounds.pop(0)
            await asyncio.sleep(chance.random() * 0.15)
            await asyncio.to_thread(struck, here, victims.pop(), chance.random() * 0.3)
    assert not victims
    return lines


def struck(here: Rehearsal, victim: str, after: float) -> None:
    """SIGKILL, and a start a moment later."""
    if victim == "coordinator":
        here.kill_coordinator()
        time.sleep(after)
        here.start_coordinator()
    else:
        here.kill(victim)
        time.sleep(after)
        here.start(victim)


async def params(remote: Remote, place: Path) -> bytes:
    """The last model of the only run."""
    (fact,) = await remote.runs()
    assert (fact.status, fact.round) == ("finished", ROUNDS)
    found = read_pack(await remote.fetch(await remote.result(fact.id), place))["params"]
    return bytes(found.tobytes())


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 1), ("sqlite", 2), ("postgresql", 3)])
def test_killed_at_random(
    tmp_path: Path, store: str, seed: int, request: pytest.FixtureRequest
) -> None:
    options: tuple[str, ...] = ()
    if store == "postgresql":
        options = ("--database", request.getfixturevalue("postgres_url"))
    sites = {name: records(place) for place, name in enumerate(NAMES)}
    with Rehearsal(tmp_path / "here", sites, options=options) as here:
        lines, found = asyncio.run(judged(here, random.Random(seed), tmp_path))  # noqa: S311
        logs = "".join(here.log(who) for who in ("coordinator", *NAMES))
    held = {name: (one.x, one.y) for name, one in sites.items()}
    run = tacit.simulate(federation(), held, seed=SEED, engine="exact")
    assert found == run.model.params.tobytes()
    assert sum(line.kind == "recovered" for line in lines) == 2
    assert not [line.text for line in lines if line.kind in ("failed", "tried", "set_aside")]
    answers = [(one.body["round"], one.body["client"]) for one in lines if one.kind == "answered"]
    assert sorted(answers) == [(r, c) for r in range(ROUNDS) for c in range(len(NAMES))]
    assert "Traceback" not in logs


async def judged(
    here: Rehearsal, chance: random.Random, folder: Path
) -> tuple[list[EventFact], bytes]:
    remote = open_remote(here.researcher, RealClock(), os.urandom)
    try:
        lines = await disturbed(here, remote, chance)
        return lines, await params(remote, folder / "model.pack")
    finally:
        await remote.close()


def test_a_coordinator_that_is_told_to_stop_lets_go(world: World) -> None:
    """SIGTERM: waiting polls are answered, the process ends with 0, the next start goes on."""
    world.serve("--assemble", 2)
    world.enrol("ada", "researcher")
    world.owners()
    world.app(rounds="30")
    for name in NAMES:
        world.client(name)
    run = world.submit()
    eventually(lambda: world.show(run)["round"] > 3)
    assert world.end("coordinator", signal.SIGTERM) == 0
    assert "draining" in world.said("coordinator")
    world.serve("--assemble", 2)
    assert world.over(run)["status"] == "finished"
    assert "The coordinator was restarted and goes on." in world.log(run)
    assert not [one for one in world.lines(run) if one["kind"] in ("failed", "tried")]


def test_a_home_is_one_clients_alone(world: World) -> None:
    world.serve()
    world.enrol("north")
    world.client("north")
    eventually(lambda: "takes part" in world.said("north"))
    eventually(world.home("north").state.exists)
    done = world.shell("client", "--home", world.home("north").folder, status=1)
    assert "[client.running]" in done.stderr
