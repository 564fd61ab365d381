"""Members: enrolment, invitations, revocation, peers and vouches."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Role
from tacit.deploy.wire.statements import vouch_text
from tests.deploy.coordinator.scene import Answer, World

NEW = Identity.from_seed(b"n" * 32)


def world(folder: Path, **settings: Any) -> World:
    made = World(folder, Settings(**settings), url="sqlite://")
    made.person("olga", Role.OPERATOR)
    return made


async def invited(made: World, **asked: Any) -> str:
    found = await made.ask("olga", "POST", "/v1/invitations", {"role": "client", **asked})
    assert found.status == 200
    return str(found.json["code"])


async def enrol(
    made: World, code: str, name: str = "north", key: Identity = NEW, by: Identity | None = None
) -> Answer:
    public = base64.b64encode(key.public).decode()
    body = {"code": code, "name": name, "public_key": public}
    return await made.ask(by or key, "POST", "/v1/enrol", body)


def test_an_invitation_makes_one_member(tmp_path: Path) -> None:
    async def run() -> None:
        made = world(tmp_path)
        code = await invited(made)
        first = await enrol(made, code)
        assert (first.status, first.json["id"], first.json["role"]) == (200, NEW.id, "client")
        again = await enrol(made, code)
        assert (again.status, again.json["id"]) == (200, NEW.id)
        other = await enrol(made, code, "south", Identity.from_seed(b"o" * 32))
        assert (other.status, other.code) == (403, "invitation.used")
        work = await made.ask(NEW, "POST", "/v1/work", {"wait": 0})
        assert work.status == 200

    asyncio.run(run())


def test_enrolments_that_do_not_hold(tmp_path: Path) -> None:
    async def run() -> None:
        made = world(tmp_path)
        code = await invited(made, name="north", hours=1.0)
        assert (await enrol(made, "x" * 22)).code == "invitation.unknown"
        assert (await enrol(made, code, "south")).code == "member.name"
        stranger = Identity.from_seed(b"o" * 32)
        assert (await enrol(made, code, by=stranger)).code == "member.key"
        made.clock.time += 3601
        assert (await enrol(made, code)).code == "invitation.expired"
        fresh = await invited(made)
        assert (await enrol(made, fresh, "olga")).code == "store.name-taken"
        assert (await enrol(made, fresh)).status == 200  # what was refused used nothing up

    asyncio.run(run())


def test_a_thousand_fake_enrolments_are_cut_short(tmp_path: Path) -> None:
    async def run() -> None:
        made = world(tmp_path, enrolments=20)
        codes = [(await enrol(made, "x" * 22)).code for _ in range(1000)]
        assert codes.count("invitation.unknown") == 20
        assert codes.count("deploy.enrolments") == 980
        made.clock.time += 61
        assert (await enrol(made, await invited(made))).status == 200

    asyncio.run(run())


def test_codes_are_kept_as_hashes_only(tmp_path: Path) -> None:
    async def run() -> str:
        made = World(tmp_path)
        made.person("olga", Role.OPERATOR)
        return await invited(made)

    code = asyncio.run(run())
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("tacit.db*"))
    assert b"invitations" in stored
    assert code.encode() not in stored


def test_revocation_ends_a_request_that_waits(tmp_path: Path) -> None:
    async def run() -> None:
        made = world(tmp_path)
        north = made.person("north", Role.CLIENT)
        waiting = asyncio.create_task(made.ask("north", "POST", "/v1/work", {"wait": 30}))
        await asyncio.sleep(0)
        path = f"/v1/members/{north.id}/revoke"
        assert (await made.ask("olga", "POST", path)).status == 200
        assert (await waiting).code == "member.revoked"
        listed = (await made.ask("olga", "GET", "/v1/members")).json["members"]
        assert {one["name"]: one["revoked"] for one in listed} == {
            "olga": None,
            "north": made.clock.now(),
        }
        own = f"/v1/members/{made.people['olga'].id}/revoke"
        assert (await made.ask("olga", "POST", own)).code == "member.self"
        none = f"/v1/members/{'ab' * 16}/revoke"
        assert (await made.ask("olga", "POST", none)).code == "member.none"

    asyncio.run(run())


def test_vouches_are_seen_by_the_other_clients(tmp_path: Path) -> None:
    async def run() -> None:
        made = world(tmp_path)
        sites = {name: made.person(name, Role.CLIENT) for name in ("north", "south", "west")}
        text = vouch_text(sites["south"].id, "south")
        signature = base64.b64encode(sites["north"].sign(text)).decode()
        path = f"/v1/peers/{sites['south'].id}/vouch"
        assert (await made.ask("north", "POST", path, {"signature": signature})).status == 200
        forged = await made.ask("west", "POST", path, {"signature": signature})
        assert forged.code == "member.vouch"
        assert (await made.ask("south", "POST", path, {"signature": signature})).code == (
            "member.self"
        )
        peers = (await made.ask("west", "GET", "/v1/peers")).json["peers"]
        assert {peer["name"] for peer in peers} == {"north", "south"}
        south = next(peer for peer in peers if peer["name"] == "south")
        assert south["vouches"] == [{"by": sites["north"].id, "signature": signature}]

    asyncio.run(run())
