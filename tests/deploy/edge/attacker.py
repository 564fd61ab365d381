"""What the tests of the edge share: a coordinator with something to attack, and its members."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tacit.base.key import Key
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.wire.messages import Role
from tests.deploy.client.virtual import VirtualClock, _Loop
from tests.deploy.coordinator.scene import Site, World, submission
from tests.deploy.coordinator.test_coordinator_bits import clients, federation

NAMES = {
    Role.OPERATOR: "olga",
    Role.RESEARCHER: "ruth",
    Role.CLIENT: "site 0",
    Role.AUDITOR: "ada",
}
RUN = "ab" * 16


def virtual() -> asyncio.Runner:
    """Runs coroutines in virtual time: what waits a minute waits for nothing."""
    return asyncio.Runner(loop_factory=_Loop)


async def deployed(folder: Path, **settings: Any) -> World:
    """Members of every role and a run in its first round, on the clock of the running loop."""
    clock: Any = VirtualClock()
    world = World(folder, Settings(**settings), clock, url="sqlite://")
    for role, name in NAMES.items():
        world.person(name, role)
    world.person("site 1", Role.CLIENT)
    plan = federation(clients=2, quorum=2, rounds=3)
    sent = await world.ask("ruth", "POST", "/v1/runs", submission(plan, RUN, 1))
    assert sent.status == 200, sent.body
    for name in ("site 0", "site 1"):
        site = Site(world, name, clients(2), plan.plan(), Key.seed(1))
        assert (await site.join(RUN)).status == 200
    await world.settle()
    return world
