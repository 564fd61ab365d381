"""What the tests of the edge share: a coordinator with something to attack, and its members."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from pathlib import Path
from typing import Any

from tacit.base.key import Key
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.wire.messages import Role
from tests.deploy.client.virtual import VirtualClock, _Loop
from tests.deploy.coordinator.scene import Answer, Site, World, submission
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


def play(test: Coroutine[Any, Any, None]) -> None:
    """Run one test in virtual time."""
    with virtual() as runner:
        runner.run(test)


async def trickled(
    world: World,
    method: str,
    target: str,
    headers: dict[str, str],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
) -> Answer:
    """One request whose body comes from `receive`; header values may be any that HTTP allows."""
    path, _, query = target.partition("?")
    said: list[MutableMapping[str, Any]] = []

    async def tell(event: MutableMapping[str, Any]) -> None:
        said.append(event)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
    }
    await world.app(scope, receive, tell)
    return Answer(said[0]["status"], {}, b"".join(one.get("body", b"") for one in said))
