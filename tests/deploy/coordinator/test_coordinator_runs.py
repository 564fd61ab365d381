"""Runs from the first client to the end: joining, refusals, stops, results, files, totals."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer
from tests.deploy.coordinator.running import PARTIAL, RUN, begun, go
from tests.deploy.coordinator.scene import Answer, Site, World, put, submission
from tests.deploy.coordinator.test_coordinator_bits import clients, federation


def test_late_joiners_get_the_next_free_place(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=3), joining=3)
        assert (await running.show())["run"]["status"] == "waiting"
        running.world.clock.time += 61
        await running.world.settle()
        assert (await running.show())["run"]["status"] == "running"
        asked = await running.world.ask("site 3", "POST", "/v1/work", {"wait": 0})
        assert [task["type"] for task in asked.json["tasks"]] == ["consider"]
        assert (await running.sites[3].join(RUN)).json == {"index": 3}
        assert await running.turns(3) == 0
        for site in (0, 1, 2):
            await running.sites[site].turn(await running.task(site))
        await running.world.settle()
        assert await running.turns(3) == 1
        running.world.person("one more", Role.CLIENT)
        more = Site(running.world, "one more", clients(4), running.plan.plan(), Key.seed(1))
        assert (await more.join(RUN)).code == "deploy.full"

    go(run())


def test_leaving_and_revoked_clients_are_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=1))
        leave = {"decision": "leave", "reasons": ["maintenance"]}
        path = f"/v1/runs/{RUN}/joining"
        assert (await running.world.ask("site 0", "POST", path, leave)).status == 200
        revoke = f"/v1/members/{running.world.people['site 1'].id}/revoke"
        assert (await running.world.ask("olga", "POST", revoke)).status == 200
        for site in (2, 3):
            await running.sites[site].turn(await running.task(site))
        await running.world.settle()
        shown = await running.show()
        assert shown["run"]["status"] == "finished"
        assert shown["history"][0]["answers"] == 2

    go(run())


def test_refusals_reach_the_researcher(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL, joining=0)
        body = {"decision": "refuse", "reasons": ["the code is not approved"]}
        path = f"/v1/runs/{RUN}/joining"
        for _ in range(2):
            assert (await running.world.ask("site 2", "POST", path, body)).status == 200
        assert (await running.show())["refusals"] == [
            {
                "member": running.world.people["site 2"].id,
                "name": "site 2",
                "reasons": ["the code is not approved"],
            }
        ]
        assert (await running.kinds()).count("refused") == 1
        assert (await running.world.ask("site 2", "POST", "/v1/work", {"wait": 0})).json[
            "tasks"
        ] == []

    go(run())


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(rounds=3))
        await running.sites[0].turn(await running.task(0))
        stop, resume = f"/v1/runs/{RUN}/stop", f"/v1/runs/{RUN}/resume"
        assert (await running.world.ask("ruth", "POST", stop)).json["status"] == "stopped"
        await running.world.again()
        told = await running.world.ask("site 1", "POST", "/v1/work", {"wait": 0, "decided": [RUN]})
        assert told.json["tasks"] == [{"type": "over", "run": RUN, "status": "stopped"}]
        assert (await running.world.ask("ruth", "POST", resume)).json["status"] == "running"
        await running.world.again()
        assert await running.finish() == "finished"
        exact = await begun(tmp_path / "calm", federation(rounds=3))
        assert await exact.finish() == "finished"
        models = [
            (await one.world.ask("ruth", "GET", f"/v1/runs/{RUN}/result")).json["model"]
            for one in (running, exact)
        ]
        assert models[0] == models[1]
        assert (await running.world.ask("ruth", "POST", resume)).code == "deploy.over"

    go(run())


def test_a_run_without_a_quorum_fails_and_can_be_resumed(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(rounds=5, patience=1))
        running.world.clock.time += 61
        await running.world.settle()
        shown = await running.show()
        assert (shown["run"]["status"], shown["run"]["why"]) == ("failed", "round.quorum")
        await running.world.again()
        resumed = await running.world.ask("ruth", "POST", f"/v1/runs/{RUN}/resume")
        assert resumed.json["status"] == "running"
        await running.world.settle()
        assert await running.finish() == "finished"
        assert len((await running.show())["history"]) == 4

    go(run())


def test_a_model_that_overflows_ends_its_own_run(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(rounds=2, quorum=1))
        size = running.plan.plan().message.size
        huge = np.full(size, 1.7e308)
        huge[-1] = 1e-300
        for site in range(4):
            assert (
                await put(running.world, f"site {site}", RUN, 0, encode_answer(huge))
            ).status == (200)
        with np.errstate(all="ignore"):
            await running.world.settle()
        shown = await running.show()
        assert shown["run"]["status"] == "failed"
        assert "NaN or infinite" in shown["run"]["why"]

    go(run())


def test_polls_wake_for_work_and_events_for_news(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL, joining=3)
        ask = running.world.ask
        poll = asyncio.create_task(
            ask("site 0", "POST", "/v1/work", {"wait": 60, "decided": [RUN]})
        )
        shown = (await ask("ruth", "GET", f"/v1/runs/{RUN}/events")).json
        after = shown["events"][-1]["seq"]
        events = asyncio.create_task(
            ask("ruth", "GET", f"/v1/runs/{RUN}/events?after={after}&wait=60")
        )
        await asyncio.sleep(0)
        assert running.world.here.bells.count == 2
        await running.sites[3].join(RUN)
        assert [one["kind"] for one in (await events).json["events"]] == ["joined"]
        assert [one["type"] for one in (await poll).json["tasks"]] == ["turn"]
        assert running.world.here.bells.count == 0

    go(run())


@pytest.mark.parametrize("seed", [None, 3])
def test_a_simulated_secure_sum_is_for_rehearsals_only(seed: int | None, tmp_path: Path) -> None:
    async def run() -> Answer:
        world = World(tmp_path)
        world.person("ruth", Role.RESEARCHER)
        plan = federation(protect=tacit.secure_average(clip=1.0))
        return await world.ask("ruth", "POST", "/v1/runs", submission(plan, RUN, seed))

    found = asyncio.run(run())
    assert found.code == ("deploy.secure-sum-simulated" if seed is None else "")


def test_submissions_that_do_not_hold_say_why(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.person("ruth", Role.RESEARCHER)
        world.person("rita", Role.RESEARCHER)
        good = submission(PARTIAL, RUN)

        async def code(**changes: Any) -> str:
            return (await world.ask("ruth", "POST", "/v1/runs", {**good, **changes})).code

        plain = PARTIAL.plain
        assert await code(digest="cd" * 32) == "deploy.digest"
        assert await code(federation={**plain, "rounds": "x"}) == "description.type"
        assert await code(federation={**plain, "round": 3}) == "description.unknown"
        assert await code(federation={}) == "description.missing"
        crowd = PARTIAL.replace(clients=10**9)
        assert await code(federation=crowd.plain, digest=crowd.digest) == "deploy.too-much"
        wide = PARTIAL.replace(data=tacit.arrays((1 << 40,), 3))
        assert await code(federation=wide.plain, digest=wide.digest) == "deploy.too-much"
        long = PARTIAL.replace(rounds=10**6)
        assert await code(federation=long.plain, digest=long.digest) == "deploy.too-much"
        odd = {**plain, "protect": [{"kind": [1]}]}
        assert await code(federation=odd) == "description.unknown"
        assert await code(clients=["a", "b"]) == "deploy.clients"
        assert await code(clients=["a", "a", "b", "c", "d"]) == "deploy.clients"
        assert await code() == ""
        assert await code() == ""
        assert await code(name="another") == "deploy.run-differs"
        listed = await world.ask("rita", "GET", "/v1/runs")
        assert listed.json["runs"] == []
        for path in ("", "/events", "/result"):
            hidden = await world.ask("rita", "GET", f"/v1/runs/{RUN}{path}")
            assert (hidden.status, hidden.code) == (404, "deploy.no-run")
        early = await world.ask("ruth", "GET", f"/v1/runs/{RUN}/result")
        assert early.code == "deploy.no-result"

    go(run())


def test_files_are_for_those_whom_they_concern(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        world = running.world
        world.person("stranger", Role.CLIENT)
        world.person("rita", Role.RESEARCHER)
        world.person("ada", Role.AUDITOR)
        task = await running.task(0)
        path = f"/v1/blobs/{task['offer']}"
        whole = await world.ask("site 0", "GET", path)
        assert len(whole.body) == task["offer_size"]
        assert hashlib.sha256(whole.body).hexdigest() == task["offer"]
        for name, code in (("stranger", "deploy.no-blob"), ("rita", "deploy.no-blob")):
            assert (await world.ask(name, "GET", path)).code == code
        assert (await world.ask("ada", "GET", path)).code == "member.role"
        part = await _ranged(world, path, "bytes=10-19")
        assert (part.status, part.body) == (206, whole.body[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole.body)}"
        rest = await _ranged(world, path, "bytes=10-")
        assert rest.body == whole.body[10:]
        beyond = await _ranged(world, path, "bytes=999999999-")
        assert (beyond.status, beyond.code) == (416, "deploy.range")
        answer = running.world.here.books[RUN].kept
        assert answer is not None
        await running.sites[0].turn(task)
        stored = running.world.here.books[RUN].machine.answered[0]
        assert (await world.ask("olga", "GET", f"/v1/blobs/{stored}")).code == "deploy.no-blob"

    go(run())


async def _ranged(world: World, path: str, span: str) -> Answer:
    headers = world.headers(world.people["site 0"], "GET", path)
    return await world.ask(None, "GET", path, b"", {**headers, "Range": span})


def test_only_what_is_needed_stays_in_the_store(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(algorithm=tacit.scaffold(lr=0.1, steps=2)))
        assert await running.finish() == "finished"
        kept = running.world.here.past[RUN].kept
        assert kept is not None
        assert set(running.world.blobs.digests()) == {kept.state, kept.offer}

    go(run())


def test_totals_are_for_everybody_and_name_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        assert await running.finish() == "finished"
        text = (await running.world.ask(None, "GET", "/metrics")).body.decode()
        assert "tacit_rounds_closed_total 2.0" in text
        assert 'tacit_members{role="client"} 4.0' in text
        assert 'tacit_requests_total{route="/v1/work",status="200"}' in text
        assert "site" not in text

    go(run())
