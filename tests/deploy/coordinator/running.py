"""A run that has begun, for tests of what happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tacit
from tacit.base.key import Key
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.wire.messages import Role
from tests.deploy.coordinator.scene import Answer, Site, World, one_pass, submission
from tests.deploy.coordinator.test_coordinator_bits import clients, federation

RUN = "ab" * 16


@dataclass
class Running:
    """A run of which all sites have joined."""

    world: World
    sites: list[Site]
    plan: tacit.Federation

    async def task(self, site: int) -> dict[str, Any]:
        work = await self.sites[site].poll(RUN)
        return next(task for task in work["tasks"] if task["type"] == "turn")

    async def turns(self, site: int) -> int:
        work = await self.sites[site].poll(RUN)
        return sum(task["type"] == "turn" for task in work["tasks"])

    async def fail(self, site: int, round_: int = 0, **told: Any) -> Answer:
        body = {"phase": "code", "code": "round.code-failed", "error": "ValueError", **told}
        path = f"/v1/runs/{RUN}/rounds/{round_}/failure"
        return await self.world.ask(self.sites[site].name, "POST", path, body)

    async def show(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.world.ask("ruth", "GET", f"/v1/runs/{RUN}")).json
        return found

    async def kinds(self) -> list[str]:
        found = (await self.world.ask("ruth", "GET", f"/v1/runs/{RUN}/events")).json
        return [one["kind"] for one in found["events"]]

    async def finish(self) -> str:
        for _ in range(20):
            if await one_pass(self.world, self.sites, RUN, _nothing):
                break
        return str((await self.show())["run"]["status"])


async def _nothing() -> None:
    return


async def begun(
    folder: Path,
    plan: tacit.Federation,
    joining: int | None = None,
    *,
    rows: bool = False,
    **settings: Any,
) -> Running:
    world = World(folder, Settings(**settings), rows=rows)
    world.person("ruth", Role.RESEARCHER)
    world.person("olga", Role.OPERATOR)
    count = plan.clients
    sites = [
        Site(world, f"site {i}", clients(count), plan.plan(), Key.seed(1)) for i in range(count)
    ]
    found = await world.ask("ruth", "POST", "/v1/runs", submission(plan, RUN, 1))
    assert found.status == 200, found.body
    for site in sites:
        world.person(site.name, Role.CLIENT)
    for site in sites[:joining]:
        assert (await site.join(RUN)).status == 200
    await world.settle()
    return Running(world, sites, plan)


def go(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


PARTIAL = federation(quorum=2, rounds=2)
