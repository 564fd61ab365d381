"""Ways in that are none: other spellings of a route, others' runs, memberships that end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from tacit.base.key import Key
from tacit.deploy.coordinator.api import ROUTES
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.statements import vouch_text
from tests.deploy.coordinator.scene import Answer, Site, World, put, send, submission
from tests.deploy.coordinator.test_coordinator_access import body, target
from tests.deploy.coordinator.test_coordinator_bits import clients, federation
from tests.deploy.edge.attacker import NAMES, RUN, deployed, play, trickled

OTHER = "cd" * 16
CODE = "x" * 22


async def enrol(made: World, code: str, name: str, key: Identity) -> Answer:
    public = base64.b64encode(key.public).decode()
    told = {"code": code, "name": name, "public_key": public}
    return await made.ask(key, "POST", "/v1/enrol", told)


async def invited(made: World, role: str = "client") -> str:
    return str((await made.ask("olga", "POST", "/v1/invitations", {"role": role})).json["code"])


def key(name: str) -> Identity:
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda path: path + "/",
    lambda path: "/" + path,
    lambda path: path.upper(),
    lambda path: path.replace("/v1", "/v1/."),
    lambda path: path.replace("/v1", "/v1/../v1"),
    lambda path: path + ";x",
    lambda path: path + "%00",
    lambda path: path + "%e2%80%ae",
)


@pytest.mark.parametrize("role", Role)
def test_no_other_spelling_of_a_route_leads_in(role: Role, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        paths = {target(one).partition("?")[0] for one in ROUTES if one.roles}
        for path in paths:
            for spelled in (spell(path) for spell in SPELLINGS):
                found = await made.ask(NAMES[role], "GET", spelled)
                assert found.status in (400, 403, 404, 405, 422), (spelled, found.body)
                assert found.headers["x-content-type-options"] == "nosniff"

    play(run())


@pytest.mark.parametrize("role", [None, *Role])
def test_head_opens_nothing_that_get_does_not(role: Role | None, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        who = None if role is None else NAMES[role]
        for route in ROUTES:
            if route.method == "GET":
                head = await made.ask(who, "HEAD", target(route), body(route))
                got = await made.ask(who, "GET", target(route), body(route))
                assert head.body == b""
                assert head.status == got.status

    play(run())


def test_head_on_what_changes_things_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        for action in ("stop", "resume"):
            found = await made.ask("ruth", "HEAD", f"/v1/runs/{RUN}/{action}")
            assert found.status == 405
        shown = (await made.ask("ruth", "GET", f"/v1/runs/{RUN}")).json
        assert shown["run"]["status"] == "running"

    play(run())


def test_a_signature_for_one_spelling_of_an_address_is_none_for_another(tmp_path: Path) -> None:
    """Both lead to the same route; what was signed is what went over the wire."""

    async def run() -> None:
        made = await deployed(tmp_path)
        plain, spelled = f"/v1/runs/{RUN}", f"/v1/runs/%61b{RUN[2:]}"
        headers = made.headers(made.people["ruth"], "GET", spelled)
        found = await send(made.app, "GET", plain, "", b"", headers)
        assert (found.status, found.code) == (401, "request.signature")

    play(run())


@pytest.mark.parametrize("name", ["Content-Digest", "Signature-Input", "Signature"])
def test_headers_that_are_there_twice_fit_nothing(name: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        headers = made.headers(made.people["ruth"], "GET", "/v1/runs")
        headers[name] = f"{headers[name]}, {headers[name]}"  # as two headers arrive
        found = await send(made.app, "GET", "/v1/runs", "", b"", headers)
        assert (found.status, found.code) == (400, "request.malformed")

    play(run())


async def strangers(folder: Path) -> tuple[World, str]:
    """Another researcher with a run, a client outside of both; the offer of the first run."""
    made = await deployed(folder)
    made.person("rita", Role.RESEARCHER)
    made.person("site 9", Role.CLIENT)
    result = (await made.ask("ruth", "GET", f"/v1/runs/{RUN}/result")).json
    return made, str(result["model"])


def test_runs_of_others_are_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        made, _ = await strangers(tmp_path)
        run = f"/v1/runs/{RUN}"
        for method, path in (
            ("GET", run),
            ("GET", f"{run}/events?after=0&wait=60"),
            ("GET", f"{run}/result"),
            ("POST", f"{run}/stop"),
            ("POST", f"{run}/resume"),
            ("GET", f"{run}/start?digest={'cd' * 32}&size=5"),
            ("PUT", f"{run}/start?digest={'cd' * 32}&size=5"),
        ):
            found = await made.ask("rita", method, path, b"bytes" if method == "PUT" else b"")
            assert (found.status, found.code) == (404, "deploy.no-run"), path
        assert (await made.ask("rita", "GET", "/v1/runs")).json["runs"] == []
        assert (await made.ask("rita", "GET", f"/v1/runs?before={RUN}")).json["runs"] == []

    play(run())


def test_files_are_of_those_who_take_part(tmp_path: Path) -> None:
    async def run() -> None:
        made, offer = await strangers(tmp_path)
        kept = made.here.books[RUN].kept
        assert kept is not None
        answer = b"no answer"
        may = {"olga": 200, "ruth": 200, "site 0": 200, "rita": 404, "site 9": 404, "ada": 403}
        for who, status in may.items():
            for method in ("GET", "HEAD"):
                found = await made.ask(who, method, f"/v1/blobs/{offer}")
                assert found.status == status, who
        secret = (kept.state, made.blobs.put(answer))
        for who in may:
            for digest in secret:
                found = await made.ask(who, "GET", f"/v1/blobs/{digest}")
                assert found.status in (403, 404)
        leaving = {"decision": "leave"}
        await made.ask("site 0", "POST", f"/v1/runs/{RUN}/joining", leaving)
        assert (await made.ask("site 0", "GET", f"/v1/blobs/{offer}")).status == 404

    play(run())


def test_a_client_outside_a_run_is_no_part_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        made, _ = await strangers(tmp_path)
        failing = {"phase": "code", "code": "round.code-failed"}
        path = f"/v1/runs/{RUN}/rounds/0/failure"
        assert (await made.ask("site 9", "POST", path, failing)).code == "deploy.not-joined"
        assert (await put(made, "site 9", RUN, 0, b"x")).code == "deploy.not-joined"
        leave = {"decision": "leave"}
        path = f"/v1/runs/{RUN}/joining"
        assert (await made.ask("site 9", "POST", path, leave)).code == "deploy.not-joined"
        site = Site(made, "site 9", clients(2), federation(clients=2).plan(), Key.seed(1))
        assert (await site.join(RUN)).status in (409, 422)
        polled = {"wait": 0, "open": [{"run": RUN, "round": 0, "digest": "cd" * 32}]}
        work = (await made.ask("site 9", "POST", "/v1/work", polled)).json
        assert work["tasks"] == []
        assert work["fates"][0]["code"] == "round.foreign"

    play(run())


def test_an_answer_that_others_sent_is_not_mine_by_its_digest(tmp_path: Path) -> None:
    """Who knows the digest of a stored answer has not shown that he has it."""

    async def run() -> None:
        made, _ = await strangers(tmp_path)
        site = Site(made, "site 0", clients(2), federation(clients=2, rounds=3).plan(), Key.seed(1))
        work = await site.poll(RUN)
        task = next(one for one in work["tasks"] if one["type"] == "turn")
        assert (await site.turn(task)).status == 200
        digest = hashlib.sha256(site.answers[0]).hexdigest()
        for size, offset in ((0, 0), (len(site.answers[0]), len(site.answers[0])), (1, 0)):
            query = f"digest={digest}&size={size}&offset={offset}"
            path = f"/v1/runs/{RUN}/rounds/0/answer?{query}"
            found = await made.ask("site 1", "PUT", path, b"")
            assert not found.json.get("done")
        assert set(made.here.books[RUN].machine.answered) == {0}

    play(run())


@pytest.mark.parametrize(
    "name",
    [
        "Olga",
        "north ",
        "olga\u3164",
        "\u3164\u3164",
        "\u043elga",
        "\uff4flga",
        "o\u0301lga",
        "si  te",
        "site\n0",
        "site\x1b[31m",
        "site\u202e0",
        "-rf",
        "../x",
        "",
        "x" * 101,
    ],
    ids=ascii,
)
def test_nobody_enrols_under_a_name_that_looks_like_another(name: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        found = await enrol(made, await invited(made), name, key("new"))
        assert found.code in ("member.name-odd", "deploy.meaning"), found.body
        assert key("new").id not in made.here.members

    play(run())


@pytest.mark.parametrize(
    "name", ["St. Marys", "clínica", "больница", "東京クリニック", "ward-7 @north", "Ελλάδα 2"]
)
def test_names_of_many_countries_are_names(name: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        found = await enrol(made, await invited(made), name, key("new"))
        assert found.status == 200, found.body

    play(run())


def test_a_key_has_one_membership_and_a_code_makes_one(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        code = await invited(made)
        racers = [enrol(made, code, f"racer {i}", key(f"racer {i}")) for i in range(8)]
        found = await asyncio.gather(*racers)
        assert sorted(one.code for one in found) == ["", *["invitation.used"] * 7]
        again = await enrol(made, await invited(made, "operator"), "boss", made.people["site 0"])
        assert (again.status, again.code) == (409, "store.enrolled")
        assert made.here.members[made.people["site 0"].id].role is Role.CLIENT
        path = f"/v1/members/{made.people['site 0'].id}/revoke"
        await made.ask("olga", "POST", path)
        again = await enrol(made, await invited(made), "back", made.people["site 0"])
        assert (again.status, again.code) == (409, "store.enrolled")

    play(run())


def test_an_operator_remains_even_if_two_revoke_each_other(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        made.person("oleg", Role.OPERATOR)
        ids = {name: made.people[name].id for name in ("olga", "oleg")}
        async with made.here.lock:  # both are admitted before either is carried out
            both = [
                asyncio.ensure_future(made.ask(by, "POST", f"/v1/members/{ids[other]}/revoke"))
                for by, other in (("olga", "oleg"), ("oleg", "olga"))
            ]
            await asyncio.sleep(0.1)
        found = await asyncio.gather(*both)
        assert sorted(one.code for one in found) == ["", "member.revoked"]
        alive = [one for one in made.here.members.values() if one.role is Role.OPERATOR]
        assert sum(one.revoked is None for one in alive) == 1

    play(run())


def test_invitations_of_a_revoked_operator_are_void(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        made.person("oleg", Role.OPERATOR)
        held = await made.ask("oleg", "POST", "/v1/invitations", {"role": "operator"})
        await made.ask("olga", "POST", f"/v1/members/{made.people['oleg'].id}/revoke")
        found = await enrol(made, held.json["code"], "oleg again", key("oleg again"))
        assert (found.status, found.code) == (403, "invitation.unknown")

    play(run())


@pytest.mark.parametrize(
    ("who", "method", "path", "told"),
    [
        ("site 0", "POST", "/v1/work", {"wait": 60, "decided": []}),
        ("ruth", "GET", f"/v1/runs/{RUN}/events?after=1000&wait=60", b""),
    ],
)
def test_who_is_revoked_while_waiting_hears_that_at_once(
    who: str, method: str, path: str, told: Any, tmp_path: Path
) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        if who == "site 0":  # its turn was failed before, so there is nothing to do
            failing = {"phase": "policy", "code": "policy.refused"}
            await made.ask(who, "POST", f"/v1/runs/{RUN}/rounds/0/failure", failing)
        before = made.clock.now()
        waiting = asyncio.ensure_future(made.ask(who, method, path, told))
        await asyncio.sleep(1)
        assert not waiting.done()
        await made.ask("olga", "POST", f"/v1/members/{made.people[who].id}/revoke")
        found = await waiting
        assert (found.status, found.code) == (401, "member.revoked")
        assert made.clock.now() - before < 2

    play(run())


def test_who_is_revoked_in_the_middle_of_an_upload_is_out(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        raw = b"x" * 400
        path = f"/v1/runs/{RUN}/rounds/0/answer"
        query = f"digest={hashlib.sha256(raw).hexdigest()}&size=400&offset=0"
        headers = made.headers(made.people["site 0"], "PUT", path, query, raw)
        goes_on = asyncio.Event()
        pieces = [raw[:200], raw[200:]]

        async def receive() -> MutableMapping[str, Any]:
            if len(pieces) == 1:
                await goes_on.wait()
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        sending = trickled(made, "PUT", f"{path}?{query}", headers, receive)
        found = asyncio.ensure_future(sending)
        await asyncio.sleep(1)
        await made.ask("olga", "POST", f"/v1/members/{made.people['site 0'].id}/revoke")
        goes_on.set()
        assert (await found).code in ("member.revoked", "round.not-asked")
        assert made.here.books[RUN].machine.answered == {}

    play(run())


def test_nobody_vouches_for_himself_or_for_others_in_their_name(tmp_path: Path) -> None:
    async def run() -> None:
        made = await deployed(tmp_path)
        first, second = made.people["site 0"], made.people["site 1"]
        text = vouch_text(first.id, "site 0")
        own = base64.b64encode(first.sign(text)).decode()
        path = f"/v1/peers/{first.id}/vouch"
        assert (await made.ask("site 0", "POST", path, {"signature": own})).code == "member.self"
        assert (await made.ask("site 1", "POST", path, {"signature": own})).code == "member.vouch"
        other = base64.b64encode(second.sign(vouch_text(second.id, "site 1"))).decode()
        assert (await made.ask("site 1", "POST", path, {"signature": other})).code == "member.vouch"
        nobody = f"/v1/peers/{made.people['ruth'].id}/vouch"
        assert (await made.ask("site 1", "POST", nobody, {"signature": own})).code == "member.none"

    play(run())


def test_a_run_id_of_others_cannot_be_taken_over(tmp_path: Path) -> None:
    async def run() -> None:
        made, _ = await strangers(tmp_path)
        plan = federation(clients=2, quorum=2, rounds=3)
        same = submission(plan, RUN, 1)
        found = await made.ask("rita", "POST", "/v1/runs", same)
        assert (found.status, found.code) == (409, "deploy.run-differs")
        assert made.here.books[RUN].row.by == made.people["ruth"].id

    play(run())
