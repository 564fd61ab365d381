"""Many, large, slow: what one stranger or member may cost everybody else, and what bounds it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

import tacit
from tacit.deploy.coordinator.api import ROUTES
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Role
from tests.deploy.coordinator.running import begun
from tests.deploy.coordinator.scene import Answer, World, send, submission
from tests.deploy.coordinator.test_coordinator_access import target
from tests.deploy.coordinator.test_coordinator_bits import federation
from tests.deploy.coordinator.test_coordinator_user_code import with_code
from tests.deploy.edge.attacker import NAMES, RUN, deployed, play, trickled
from tests.deploy.edge.test_edge_access import enrol, invited, key

PATH = f"/v1/runs/{RUN}/rounds/0/answer"


def lines(made: World) -> int:
    return made.here.books[RUN].seq


def test_a_thousand_fakes_lock_out_nobody_who_is_invited(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path, enrolments=20)
        code = await invited(made)
        codes = [(await enrol(made, "x" * 22, "new", key("fake"))).code for _ in range(1000)]
        assert (codes.count("invitation.unknown"), codes.count("deploy.enrolments")) == (20, 980)
        found = await enrol(made, code, "honest", key("honest"))
        assert found.status == 200, found.body
        again = await enrol(made, code, "honest", key("honest"))
        assert again.status == 200  # its reply was lost
        used = [(await enrol(made, code, "thief", key("thief"))).code for _ in range(100)]
        used += [(await enrol(made, code, f"n{i}", key("honest"))).code for i in range(100)]
        assert set(used) == {"deploy.enrolments"}
        assert len(made.here.enrolments) == 20
        assert len(made.here.members) == 6

    play(run())


async def slow(made: World, who: str | None, method: str, path: str, pieces: int) -> Answer:
    """A body of which so many bytes come, and then nothing."""
    headers = {"content-length": "1000"}
    route, _, query = path.partition("?")
    key = Identity.from_seed(b"s" * 32) if who is None else made.people[who]
    headers |= made.headers(key, method, route, query, b"x" * 1000)
    left = [b"x"] * pieces

    async def receive() -> MutableMapping[str, Any]:
        if not left:
            await asyncio.sleep(1e9)
        return {"type": "http.request", "body": left.pop(), "more_body": True}

    return await trickled(made, method, path, headers, receive)


@pytest.mark.parametrize("pieces", [0, 1, 5])
@pytest.mark.parametrize(
    ("who", "method", "path"),
    [
        (None, "POST", "/v1/enrol"),
        ("site 0", "POST", "/v1/work"),
        ("ruth", "POST", "/v1/runs"),
        ("site 0", "PUT", f"{PATH}?digest={'cd' * 32}&size=1000&offset=0"),
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(
    who: str | None, method: str, path: str, pieces: int, tmp_path: Path
) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        before = made.clock.now()
        found = await slow(made, who, method, path, pieces)
        assert (found.status, found.code) == (408, "deploy.slow")
        assert made.clock.now() - before <= made.here.settings.patience + 1
        assert made.here.serving == 0

    play(run())


def test_strangers_may_send_little(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        stranger = Identity.from_seed(b"s" * 32)
        found = await made.ask(stranger, "POST", "/v1/enrol", b" " * 5000)
        assert (found.status, found.code) == (413, "deploy.too-large")
        for route in ROUTES:
            if route.roles:
                found = await made.ask(stranger, route.method, target(route), b" " * (9 << 20))
                assert (found.status, found.code) == (401, "member.unknown")

    play(run())


@pytest.mark.parametrize(
    "declared", ["9" * 19, "1" + "0" * 30, "-1", "0x10", "5, 5", "\xb2", "1e3"]
)
def test_declared_lengths_are_numbers_within_the_limit(declared: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        headers = made.headers(made.people["site 0"], "POST", "/v1/work", "", b"{}")
        headers["content-length"] = declared

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        found = await trickled(made, "POST", "/v1/work", headers, receive)
        assert (found.status, found.code) in ((413, "deploy.too-large"), (400, "request.malformed"))

    play(run())


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "identity, gzip"])
def test_encoded_bodies_are_refused_unread(encoding: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        for who, method, path in (
            ("site 0", "POST", "/v1/work"),
            ("ruth", "POST", "/v1/runs"),
            ("site 0", "PUT", f"{PATH}?digest={'cd' * 32}&size=5&offset=0"),
        ):
            route, _, query = path.partition("?")
            headers = made.headers(made.people[who], method, route, query, b"bytes")
            headers["content-encoding"] = encoding
            found = await send(made.app, method, route, query, b"bytes", headers)
            assert (found.status, found.code) == (415, "deploy.encoding")

    play(run())


@pytest.mark.parametrize("size", [1 << 53, 1 << 40, 0])
def test_sizes_are_believed_within_the_plan(size: int, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        query = f"digest={'cd' * 32}&size={size}&offset=0"
        found = await made.ask("site 0", "PUT", f"{PATH}?{query}", b"bytes")
        assert found.code in ("deploy.answer-size", "deploy.meaning")
        assert made.blobs.spool.names() == ()

    play(run())


def test_uploads_that_never_end_leave_one_file_a_place_and_then_none(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        made.blobs.small = 0
        for number in range(50):
            digest = hashlib.sha256(bytes([number])).hexdigest()
            for offset in (0, 7):
                query = f"digest={digest}&size=200&offset={offset}"
                await made.ask("site 0", "PUT", f"{PATH}?{query}", b"bytes")
        assert len(made.blobs.spool.names()) == 1
        failing = {"phase": "policy", "code": "policy.refused"}
        await made.ask("site 0", "POST", f"/v1/runs/{RUN}/rounds/0/failure", failing)
        await asyncio.sleep(61)
        await made.settle()
        assert made.blobs.spool.names() == ()

    play(run())


def test_starts_that_never_end_leave_one_file_a_run_and_then_none(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        plan, other = with_code(), "cd" * 16
        sent = await made.ask("ruth", "POST", "/v1/runs", submission(plan, other))
        assert sent.status == 200, sent.body
        for number in range(50):
            digest = hashlib.sha256(bytes([number])).hexdigest()
            query = f"digest={digest}&size=200&offset=0"
            await made.ask("ruth", "PUT", f"/v1/runs/{other}/start?{query}", b"bytes")
        assert len(made.blobs.spool.names()) == 1
        large = f"digest={'cd' * 32}&size={1 << 33}&offset=0"
        found = await made.ask("ruth", "PUT", f"/v1/runs/{other}/start?{large}", b"bytes")
        assert (found.status, found.code) == (413, "deploy.too-large")
        garbage = b"no pack at all"
        digest = hashlib.sha256(garbage).hexdigest()
        query = f"digest={digest}&size={len(garbage)}&offset=0"
        found = await made.ask("ruth", "PUT", f"/v1/runs/{other}/start?{query}", garbage)
        assert found.code == "wire.pack"
        assert not made.blobs.has(digest)
        await made.ask("ruth", "POST", f"/v1/runs/{other}/stop")
        await asyncio.sleep(61)
        await made.settle()
        assert made.blobs.spool.names() == ()

    play(run())


def test_few_requests_of_one_member_wait(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        made.person("idle", Role.CLIENT)
        poll = {"wait": 60, "decided": [RUN]}
        polls = [
            asyncio.ensure_future(made.ask("idle", "POST", "/v1/work", poll)) for _ in range(500)
        ]
        await asyncio.sleep(1)
        waiting = sum(not one.done() for one in polls)
        assert waiting == made.here.settings.polls
        assert {one.result().status for one in polls if one.done()} == {200}
        await asyncio.gather(*polls)
        path = f"/v1/runs/{RUN}/events?after=1000&wait=60"
        asked = [asyncio.ensure_future(made.ask("ruth", "GET", path)) for _ in range(100)]
        await asyncio.sleep(1)
        assert sum(not one.done() for one in asked) == made.here.settings.polls
        await asyncio.gather(*asked)
        assert made.here.polling[made.people["idle"].id] == 0

    play(run())


def test_giant_lists_in_a_poll_read_little(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        read: list[str] = []
        row = made.here._row

        def counted(run: str) -> Any:
            read.append(run)
            return row(run)

        made.here._row = counted  # type: ignore[method-assign]  # to count
        runs = [f"{number:032x}" for number in range(1000)]
        poll: dict[str, Any] = {
            "wait": 0,
            "open": [{"run": run, "round": 0, "digest": "cd" * 32} for run in runs],
            "decided": [f"{number:032x}" for number in range(10_000)],
        }
        found = await made.ask("site 1", "POST", "/v1/work", poll)
        assert found.status == 200
        assert len(read) <= 20
        one_more = {**poll, "decided": [*poll["decided"], RUN]}
        assert (await made.ask("site 1", "POST", "/v1/work", one_more)).code == "deploy.meaning"

    play(run())


@pytest.mark.parametrize("size", [100, 98_000])
def test_a_client_that_changes_its_mind_fills_no_journal(size: int, tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2), joining=3)
        path, most = f"/v1/runs/{RUN}/joining", made.world.here.settings.decisions
        before = lines(made.world)
        site = made.sites[0]
        for number in range(3 * most):
            reasons = [f"{number:0{min(size, 2000)}}"] * (size // 2000 + 1)
            told = {"decision": "refuse", "reasons": reasons}
            await made.world.ask(site.name, "POST", path, told)
            await site.join(RUN)
        assert lines(made.world) - before <= 4 * most
        assert (await site.join(RUN)).code == "deploy.decisions"
        leave = await made.world.ask(site.name, "POST", path, {"decision": "leave"})
        assert leave.status == 200

    play(run())


def test_who_has_decided_too_often_can_still_go(tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2), decisions=1)
        path, site = f"/v1/runs/{RUN}/joining", made.sites[0]
        refused = {"decision": "refuse", "reasons": ["no"]}
        found = await made.world.ask(site.name, "POST", path, refused)
        assert (found.status, found.code) == (409, "deploy.decisions")
        assert 0 in made.world.here.books[RUN].left

    play(run())


def test_failures_are_journalled_a_few_times_a_round(tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2))
        before = lines(made.world)
        for number in range(100):
            await made.fail(0, traceback="x" * 9000, attempt=f"{number:016x}")
        assert lines(made.world) - before == 3  # two attempts, and the round given up

    play(run())


def test_a_failure_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2))
        for _ in range(5):
            assert (await made.fail(0, attempt="ab" * 8)).status == 200
        assert await made.turns(0) == 1
        await made.fail(0, attempt="cd" * 8)
        assert await made.turns(0) == 0
        await made.world.again()
        assert made.world.here.books[RUN].knows(0, "cd" * 8)

    play(run())


@pytest.mark.parametrize("code", ["policy.not-now", "round.code-failed"])
def test_buffered_rounds_do_not_ask_at_once_who_has_failed(code: str, tmp_path: Path) -> None:
    async def run() -> None:
        plan = federation(algorithm=tacit.fedbuff(lr=0.1, batch=8), cohort=tacit.buffered(2, 4))
        made = await begun(tmp_path, plan)
        before = lines(made.world)
        for number in range(100):
            phase = "policy" if code.startswith("policy") else "code"
            await made.fail(0, phase=phase, code=code, attempt=f"{number:016x}")
        assert lines(made.world) - before <= 5

    play(run())


@pytest.mark.parametrize("code", ["round.absent", "round.lost"])
def test_nobody_says_of_himself_that_he_says_nothing(code: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2))
        found = await made.fail(0, code=code)
        assert (found.status, found.code) == (422, "deploy.meaning")
        assert await made.turns(0) == 1

    play(run())


def test_nights_are_no_strikes(tmp_path: Path) -> None:
    """An owner who allows turns by night only is not set aside for the days."""

    async def run() -> None:
        made = await begun(tmp_path, federation(quorum=2, rounds=6))
        for round_ in range(4):
            await made.fail(0, round_, phase="policy", code="policy.not-now")
            for site in (1, 2, 3):
                await made.sites[site].turn(await made.task(site))
            await made.world.settle()
        assert "set_aside" not in await made.kinds()
        assert await made.turns(0) == 1

    play(run())


def test_resuming_what_runs_is_not_written_down(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        before = lines(made)
        for _ in range(50):
            assert (await made.ask("ruth", "POST", f"/v1/runs/{RUN}/resume")).status == 200
        assert lines(made) == before

    play(run())


NASTY = ["a\nb", "\x1b[2J", "a\rb", "\u202etxt", "\x00", "\u2028"]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_what_would_forge_a_log_is_refused(text: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        joining, failure = f"/v1/runs/{RUN}/joining", f"/v1/runs/{RUN}/rounds/0/failure"
        failed = {"phase": "code", "code": "round.code-failed"}
        plan = submission(federation(clients=2, quorum=2), "cd" * 16)
        attempts: list[tuple[str, str, dict[str, Any]]] = [
            ("site 0", joining, {"decision": "refuse", "reasons": [text]}),
            (
                "site 0",
                joining,
                {"decision": "accept", "dataset": text, "signature": "A" * 86 + "=="},
            ),
            ("site 0", failure, {**failed, "reasons": [text]}),
            ("site 0", failure, {**failed, "code": f"round.{text}"}),
            ("site 0", failure, {**failed, "error": text}),
            ("site 0", failure, {**failed, "environment": text}),
            ("ruth", "/v1/runs", {**plan, "name": text}),
            ("ruth", "/v1/runs", {**plan, "dataset": text}),
            ("ruth", "/v1/runs", {**plan, "clients": [text, "b"]}),
            ("olga", "/v1/invitations", {"role": "client", "name": text}),
        ]
        if text != "a\nb":
            attempts.append(("site 0", failure, {**failed, "traceback": text}))
        before = lines(made)
        for who, path, told in attempts:
            found = await made.ask(who, "POST", path, told)
            assert (found.status, found.code) == (422, "deploy.meaning"), told
            assert text not in found.body.decode()
        assert lines(made) == before

    play(run())


def test_metrics_have_a_line_a_route_and_none_a_path(tmp_path: Path) -> None:
    async def run() -> None:
        made, sizes = await deployed(tmp_path), list[int]()
        await made.ask(None, "GET", "/metrics")
        for _ in range(2):
            for number in range(300):
                for path in (f"/{number}", f"/v1/runs/{number:032x}", f"/v1/blobs/{number:064x}"):
                    await made.ask(NAMES[Role.RESEARCHER], "GET", path)
            text = (await made.ask(None, "GET", "/metrics")).body.decode()
            sizes.append(text.count("\n"))
            assert "site 0" not in text
        assert sizes[0] == sizes[1]

    play(run())
