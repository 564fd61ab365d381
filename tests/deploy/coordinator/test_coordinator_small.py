"""Small models and answers are rows of the database, and answers share commits."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.store import journal
from tacit.deploy.store.database import Database
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer
from tacit.sim.simulate import simulate
from tests.deploy.coordinator.running import PARTIAL, RUN, Running, begun
from tests.deploy.coordinator.scene import World, put, rehearse
from tests.deploy.coordinator.test_coordinator_bits import CASES, clients

T = TypeVar("T")


@pytest.mark.parametrize("name", ["plain", "secure_sum", "scaffold", "partial"])
def test_rows_change_no_bit_and_make_no_file(name: str, tmp_path: Path) -> None:
    world = World(tmp_path, rows=True)
    found = asyncio.run(rehearse(world, CASES[name], clients(4), seed=11))
    assert found.tobytes() == simulate(CASES[name], clients(4), seed=11).params.tobytes()
    assert not list((tmp_path / "blobs").glob("??/*"))
    book = world.here.past[f"{11:032x}"]
    assert book.kept is not None
    assert set(world.blobs.digests()) == {book.kept.state, book.kept.offer}


def test_a_restart_between_any_two_requests_changes_no_bit(tmp_path: Path) -> None:
    world = World(tmp_path, rows=True)
    found = asyncio.run(rehearse(world, CASES["plain"], clients(4), seed=11, disturb=world.again))
    assert found.tobytes() == simulate(CASES["plain"], clients(4), seed=11).params.tobytes()


async def small(folder: Path) -> Running:
    return await begun(folder, PARTIAL, rows=True)


def test_answers_that_come_together_share_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        running = await small(tmp_path)
        here = running.world.here
        tasks = [await running.task(site) for site in range(4)]
        commits: list[int] = []

        async def slowly(work: Callable[[], T], /) -> T:
            await asyncio.sleep(0.01)
            return work()

        def counted(connection: object, run: str, lines: list[object], after: int) -> int:
            commits.append(len(lines))
            return appended(connection, run, lines, after)  # type: ignore[arg-type]  # as it is

        appended = journal.append
        monkeypatch.setattr(journal, "append", counted)
        here.offload = slowly
        sent = await asyncio.gather(
            *(site.turn(task) for site, task in zip(running.sites, tasks, strict=True))
        )
        assert [one.json["done"] for one in sent] == [True] * 4
        await running.world.settle()
        assert commits[:2] == [1, 3]
        kinds = await running.kinds()
        assert kinds.count("answered") == 4

    asyncio.run(run())


def test_a_commit_that_fails_counts_none_of_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        running = await small(tmp_path)
        tasks = [await running.task(site) for site in range(4)]
        begin = Database.begin

        def full(self: Database) -> object:
            raise TacitError("store.full", place="the disk", why="no room")

        monkeypatch.setattr(Database, "begin", full)
        pairs = list(zip(running.sites, tasks, strict=True))
        sent = await asyncio.gather(*(site.turn(task) for site, task in pairs))
        assert [(one.status, one.code) for one in sent] == [(507, "store.full")] * 4
        monkeypatch.setattr(Database, "begin", begin)
        assert "answered" not in await running.kinds()
        again = await asyncio.gather(*(site.turn(task) for site, task in pairs))
        assert all(one.json["done"] for one in again)
        assert await running.finish() == "finished"

    asyncio.run(run())


def test_one_place_answers_once_however_often_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        running = await small(tmp_path)
        site, task = running.sites[0], await running.task(0)
        size = site.plan.message.size
        other = encode_answer(CASES["plain"].plan().start(site.key)[:1].repeat(size))
        first = site.turn(task)
        found = await asyncio.gather(
            first, site.turn(task), put(running.world, site.name, RUN, task["round"], other)
        )
        assert [one.status for one in found] == [200, 200, 409]
        assert found[2].code == "round.answered-twice"
        assert (await running.kinds()).count("answered") == 1

    asyncio.run(run())


def test_a_small_answer_may_come_in_pieces_and_must_be_what_it_says(tmp_path: Path) -> None:
    async def run() -> None:
        running = await small(tmp_path)
        site, task = running.sites[0], await running.task(0)
        row = encode_answer(
            CASES["plain"].plan().start(site.key)[:1].repeat(site.plan.message.size)
        )
        digest = hashlib.sha256(row).hexdigest()
        path = f"/v1/runs/{RUN}/rounds/{task['round']}/answer"
        whole = f"{path}?digest={digest}&size={len(row)}"
        ask = running.world.ask
        part = await ask(site.name, "PUT", f"{whole}&offset=0", row[:10])
        assert part.json == {"offset": 10, "done": False}
        assert (await ask(site.name, "GET", whole)).json["offset"] == 10
        wrong = f"{path}?digest={'0' * 64}&size={len(row)}&offset=0"
        assert (await ask(site.name, "PUT", wrong, row)).code == "store.digest"
        more = await ask(site.name, "PUT", f"{whole}&offset=0", row + b"x")
        assert more.code == "store.too-large"
        done = await ask(site.name, "PUT", f"{whole}&offset=10", row[10:])
        assert done.json == {"offset": len(row), "done": True}
        assert running.world.blobs.spool.names() == ()

    asyncio.run(run())


def test_a_range_of_a_small_model(tmp_path: Path) -> None:
    async def run() -> None:
        running = await small(tmp_path)
        task = await running.task(0)
        world, path = running.world, f"/v1/blobs/{task['offer']}"
        whole = await world.ask("ruth", "GET", path)
        assert hashlib.sha256(whole.body).hexdigest() == task["offer"]
        headers = world.headers(world.people["ruth"], "GET", path) | {"range": "bytes=5-9"}
        part = await world.ask("ruth", "GET", path, headers=headers)
        assert (part.status, part.body) == (206, whole.body[5:10])
        world.person("olga's", Role.AUDITOR)
        assert (await world.ask("olga's", "GET", path)).status == 403

    asyncio.run(run())
