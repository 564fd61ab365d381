"""Rounds as they go wrong: bad answers, silence, deadlines, failures, restarts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

import tacit
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.packs import encode_answer
from tests.deploy.coordinator.running import PARTIAL, RUN, begun, go
from tests.deploy.coordinator.scene import put
from tests.deploy.coordinator.test_coordinator_bits import federation


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
