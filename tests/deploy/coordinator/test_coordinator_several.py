"""Several coordinators on one database, and requests that end before their work does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tacit.deploy.coordinator.service import Coordinator
from tacit.deploy.store import journal
from tests.deploy.coordinator.running import PARTIAL, RUN, begun
from tests.deploy.coordinator.scene import World, inline

T = TypeVar("T")


def beside(world: World) -> Coordinator:
    """Another coordinator on the same store."""
    return Coordinator(world.database, world.blobs, world.clock, world.settings, offload=inline)


def test_one_drives_a_run_and_another_takes_over_when_it_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        other = beside(running.world)
        await other.start()
        assert RUN not in other.books
        running.world.clock.time += running.world.settings.lease / 2
        await running.world.settle()
        running.world.clock.time += running.world.settings.lease / 2 + 1
        await other.tick()
        assert RUN not in other.books
        running.world.clock.time += running.world.settings.lease
        await other.tick()
        assert RUN in other.books
        await running.world.settle()
        assert RUN not in running.world.here.books
        shown = await running.world.ask("ruth", "GET", f"/v1/runs/{RUN}")
        assert (shown.status, shown.code) == (503, "deploy.elsewhere")

    asyncio.run(run())


def test_a_writer_that_was_overtaken_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        task = await running.task(0)
        with running.world.database.begin() as connection:
            journal.append(connection, RUN, [(running.world.clock.now(), "recovered", {})])
        sent = await running.sites[0].turn(task)
        assert (sent.status, sent.code) == (503, "deploy.elsewhere")
        await running.world.again()
        assert (await running.sites[0].turn(task)).json["done"]
        assert await running.finish() == "finished"

    asyncio.run(run())


def test_a_request_that_is_gone_leaves_no_gap_between_journal_and_memory(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        task = await running.task(0)
        here = running.world.here

        async def slowly(work: Callable[[], T], /) -> T:
            await asyncio.sleep(0)
            found = work()
            await asyncio.sleep(0)
            return found

        here.offload = slowly
        for steps in range(40):
            sent = asyncio.create_task(running.sites[0].turn(task))
            for _ in range(steps):
                await asyncio.sleep(0)
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
            with running.world.database.read() as connection:
                assert journal.length(connection, RUN) == here.books[RUN].seq
        here.offload = inline
        assert await running.finish() == "finished"

    asyncio.run(run())
