"""Rounds as they go wrong: bad answers, silence, deadlines, failures, restarts, stops."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer
from tests.deploy.coordinator.scene import Answer, Site, World, one_pass, put, submission
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
    folder: Path, plan: tacit.Federation, joining: int | None = None, **settings: Any
) -> Running:
    world = World(folder, Settings(**settings))
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


def test_answers_that_do_not_fit_are_refused_named_and_harm_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL, attempts=4)
        size = running.plan.plan().message.size
        nan = np.zeros(size)
        nan[3] = np.nan
        bad = {
            "deploy.answer-size": b"x" * (size * 8 + 5000),
            "wire.answer": b"garbage",
        }
        for code, raw in bad.items():
            assert (await put(running.world, "site 0", RUN, 0, raw)).code == code
        spoilt = encode_answer(np.full(size, 0.1))[:16] + nan.tobytes()
        assert (await put(running.world, "site 0", RUN, 0, spoilt)).code == (
            "round.update-not-finite"
        )
        short = encode_answer(np.zeros(size - 1))
        assert (await put(running.world, "site 0", RUN, 0, short)).code == "wire.answer"
        assert (await running.kinds()).count("tried") == 3
        assert await running.finish() == "finished"

    go(run())


def test_residues_are_checked_against_the_modulus(tmp_path: Path) -> None:
    async def run() -> None:
        plan = federation(protect=tacit.secure_average(clip=1.0, cap=100))
        running = await begun(tmp_path, plan)
        form = plan.plan().client_steps[-1].after
        row = np.zeros(form.size, np.int64)
        row[0] = 1 << form.bits
        refused = await put(running.world, "site 0", RUN, 0, encode_answer(row))
        assert refused.code in ("deploy.answer-residue", "wire.answer")
        row[0] = -1
        refused = await put(running.world, "site 0", RUN, 0, encode_answer(row))
        assert refused.code in ("deploy.answer-residue", "wire.answer")
        floats = encode_answer(np.zeros(form.size))
        assert (await put(running.world, "site 1", RUN, 0, floats)).code == "wire.answer"

    go(run())


def test_a_second_answer_is_refused_and_the_same_one_is_not(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        task = await running.task(0)
        assert (await running.sites[0].turn(task)).json["done"]
        assert (await running.sites[0].turn(task)).json["done"]
        other = encode_answer(np.full(running.plan.plan().message.size, 0.5))
        twice = await put(running.world, "site 0", RUN, 0, other)
        assert (twice.status, twice.code) == (409, "round.answered-twice")
        assert await running.finish() == "finished"
        late = await put(running.world, "site 0", RUN, 0, other)
        assert (late.status, late.code) == (409, "round.answered-twice")
        assert (await running.sites[0].turn(task)).json["done"]

    go(run())


def test_foreign_rounds_and_clients_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(cohort=tacit.fixed(2)))
        answer = encode_answer(np.zeros(running.plan.plan().message.size))
        assert (await put(running.world, "site 0", RUN, 7, answer)).code == "round.not-asked"
        asked = running.world.here.books[RUN].machine.cohort
        outside = next(i for i in range(4) if i not in asked)
        refused = await put(running.world, f"site {outside}", RUN, 0, answer)
        assert (refused.status, refused.code) == (409, "round.not-asked")
        running.world.person("stranger", Role.CLIENT)
        assert (await put(running.world, "stranger", RUN, 0, answer)).code == "deploy.not-joined"
        unknown = await put(running.world, "site 0", "cd" * 16, 0, answer)
        assert unknown.code == "deploy.no-run"

    go(run())


def test_an_upload_resumes_where_it_was_cut(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        answer = encode_answer(np.full(running.plan.plan().message.size, 0.1))
        digest = hashlib.sha256(answer).hexdigest()
        path = f"/v1/runs/{RUN}/rounds/0/answer?digest={digest}&size={len(answer)}"
        ask = running.world.ask
        assert (await ask("site 0", "GET", path)).json == {"offset": 0, "done": False}
        first = await ask("site 0", "PUT", f"{path}&offset=0", answer[:50])
        assert first.json == {"offset": 50, "done": False}
        wrong = await ask("site 0", "PUT", f"{path}&offset=40", answer[40:])
        assert (wrong.status, wrong.code) == (409, "store.offset")
        assert wrong.json["error"]["facts"]["offset"] == 50
        await running.world.again()
        assert (await ask("site 0", "GET", path)).json["offset"] == 50
        last = await ask("site 0", "PUT", f"{path}&offset=50", answer[50:])
        assert last.json == {"offset": len(answer), "done": True}
        assert (await ask("site 0", "GET", path)).json["done"]

    go(run())


def test_what_arrives_altered_is_forgotten(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, PARTIAL)
        answer = encode_answer(np.full(running.plan.plan().message.size, 0.1))
        digest = hashlib.sha256(answer).hexdigest()
        path = f"/v1/runs/{RUN}/rounds/0/answer"
        query = f"digest={digest}&size={len(answer)}&offset=0"
        who = running.world.people["site 0"]
        headers = running.world.headers(who, "PUT", path, query, answer)
        turned = answer[:-1] + bytes([answer[-1] ^ 1])
        found = await running.world.ask(None, "PUT", f"{path}?{query}", turned, headers)
        assert (found.status, found.code) == (401, "request.digest")
        size = f"{path}?digest={digest}&size={len(answer)}"
        assert (await running.world.ask("site 0", "GET", size)).json["offset"] == 0

    go(run())


def test_a_failed_turn_is_asked_again_and_then_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=4))
        assert await running.turns(0) == 1
        await running.fail(0)
        assert await running.turns(0) == 1
        await running.fail(0)
        assert await running.turns(0) == 0
        events = (await running.world.ask("ruth", "GET", f"/v1/runs/{RUN}/events")).json
        told = [one["text"] for one in events["events"] if one["kind"] == "tried"]
        assert (
            told
            == [
                "site 0 failed in round 1 (code, round.code-failed): ValueError",
            ]
            * 2
        )
        for site in (1, 2, 3):
            await running.sites[site].turn(await running.task(site))
        await running.world.settle()
        assert await running.turns(0) == 1

    go(run())


def test_who_fails_three_rounds_is_set_aside_until_resume(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=6))
        for round_ in range(3):
            await running.fail(0, round_, phase="policy", reasons=["not today"])
            for site in (1, 2, 3):
                await running.sites[site].turn(await running.task(site))
            await running.world.settle()
        shown = await running.show()
        assert shown["clients"][0]["state"] == "set aside"
        assert await running.turns(0) == 0
        await running.world.again()
        assert await running.turns(0) == 0
        assert (await running.world.ask("ruth", "POST", f"/v1/runs/{RUN}/resume")).status == 200
        for site in (1, 2, 3):
            await running.sites[site].turn(await running.task(site))
        await running.world.settle()
        assert await running.turns(0) == 1

    go(run())


def test_the_silent_are_not_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=1))
        for site in (1, 2, 3):
            await running.sites[site].turn(await running.task(site))
        running.world.clock.time += 59
        await running.world.settle()
        assert (await running.show())["run"]["status"] == "running"
        running.world.clock.time += 3
        await running.world.settle()
        shown = await running.show()
        assert shown["run"]["status"] == "finished"
        assert shown["history"][0]["answers"] == 3

    go(run())


def test_whoever_polls_is_there(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(quorum=2, rounds=1))
        for site in (1, 2, 3):
            await running.sites[site].turn(await running.task(site))
        for _ in range(5):
            running.world.clock.time += 40
            assert await running.turns(0) == 1
            await running.world.settle()
        assert (await running.show())["run"]["status"] == "running"

    go(run())


def test_a_deadline_closes_with_a_quorum_and_leaves_grace_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        plan = federation(quorum=2, rounds=2, deadline=100.0)
        running = await begun(tmp_path, plan, absent=1e6, lease=1.0)
        for site in (1, 2):
            await running.sites[site].turn(await running.task(site))
        running.world.clock.time += 101
        await running.world.settle()
        assert (await running.show())["run"]["round"] == 1
        late = await running.sites[0].poll(RUN)
        assert [task["round"] for task in late["tasks"] if task["type"] == "turn"] == [1]
        for site in (1, 2):
            await running.sites[site].turn(await running.task(site))
        running.world.clock.time += 500
        await running.world.again()
        await running.world.settle()
        assert (await running.show())["run"]["status"] == "running"
        running.world.clock.time += 31
        await running.world.settle()
        assert (await running.show())["run"]["status"] == "finished"

    go(run())


def test_outcomes_are_told_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        running = await begun(tmp_path, federation(cohort=tacit.fixed(2, spare=2), rounds=1))
        running.sites[2].pending[0] = ("ee" * 32, {})
        for site in (0, 1):
            await running.sites[site].turn(await running.task(site))
        await running.world.settle()
        await running.world.again()
        for site, fate in ((0, ""), (1, ""), (2, "round.late")):
            held = {"run": RUN, "round": 0, "digest": running.sites[site].pending[0][0]}
            asked = {"wait": 0, "open": [held]}
            work = await running.world.ask(f"site {site}", "POST", "/v1/work", asked)
            assert [one["code"] for one in work.json["fates"]] == [fate]
            assert [one["included"] for one in work.json["fates"]] == [fate == ""]

    go(run())


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
        assert await code(federation=odd) in ("deploy.description", "description.type")
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
