"""Who may do what: every route, with every role and every kind of bad request."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tacit.deploy.coordinator.api import ROUTES, Route
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Role
from tests.deploy.coordinator.scene import Answer, World, send

NAMES = {role: f"the {role}" for role in Role}
SOME = "ab" * 16
DIGEST = "cd" * 32

BODIES: dict[str, Any] = {
    "Enrolment": {"code": "x" * 22, "name": "new", "public_key": "A" * 43 + "="},
    "Invite": {"role": "client"},
    "Vouching": {"signature": "A" * 86 + "=="},
    "Poll": {"wait": 0},
    "Joining": {"decision": "leave"},
    "Failure": {"phase": "code", "code": "round.code-failed"},
    "Submission": {
        "id": SOME,
        "name": "a run",
        "federation": {},
        "digest": DIGEST,
        "dataset": "data",
    },
}
PARTS = {"{run}": SOME, "{round}": "0", "{id}": SOME, "{digest}": DIGEST}
REFUSALS = ("request.", "member.unknown", "member.revoked", "member.role", "member.key")


def shown(routes: Iterable[Route]) -> list[Any]:
    return [pytest.param(route, id=f"{route.method} {route.path}") for route in routes]


SIGNED = [route for route in ROUTES if route.roles]
WALK, MEMBERS = shown(ROUTES), shown(SIGNED)
READ = shown(route for route in SIGNED if not route.streamed)


def target(route: Route) -> str:
    path = route.path
    for part, value in PARTS.items():
        path = path.replace(part, value)
    return f"{path}?digest={DIGEST}&size=5&offset=0" if route.path.endswith(UPLOADS) else path


UPLOADS = ("/answer", "/start")


def body(route: Route) -> bytes:
    if route.takes is None:
        return b""
    return b"bytes" if route.takes is bytes else msgspec.json.encode(BODIES[route.takes.__name__])


def world(folder: Path) -> World:
    made = World(folder, url="sqlite://")
    for role, name in NAMES.items():
        made.person(name, role)
    return made


def admitted(route: Route) -> str:
    assert route.roles is not None
    return NAMES[min(route.roles)]


async def unsigned(made: World, route: Route) -> Answer:
    return await made.ask(None, route.method, target(route), body(route))


async def unknown(made: World, route: Route) -> Answer:
    return await made.ask(Identity.from_seed(b"s" * 32), route.method, target(route), body(route))


async def wrong_key(made: World, route: Route) -> Answer:
    """Another key's signature under a member's id."""
    path, _, query = target(route).partition("?")
    stranger = Identity.from_seed(b"s" * 32)
    headers = made.headers(stranger, route.method, path, query, body(route))
    member = made.people[admitted(route)].id
    headers["Signature-Input"] = headers["Signature-Input"].replace(stranger.id, member)
    return await made.ask(None, route.method, target(route), body(route), headers)


async def replayed(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path, query, body(route))
    await made.ask(None, route.method, target(route), body(route), headers)
    return await made.ask(None, route.method, target(route), body(route), headers)


async def altered_path(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path + "x", query, body(route))
    return await made.ask(None, route.method, target(route), body(route), headers)


async def altered_query(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path, query, body(route))
    changed = f"{path}?{query}&wait=1" if query else f"{path}?wait=1"
    return await made.ask(None, route.method, changed, body(route), headers)


async def altered_method(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, "PATCH", path, query, body(route))
    return await made.ask(None, route.method, target(route), body(route), headers)


async def altered_digest(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path, query, b"one thing")
    other = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    headers["Content-Digest"] = f"sha-256=:{other}:"
    return await made.ask(None, route.method, target(route), body(route), headers)


async def expired(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path, query, body(route))
    made.clock.time += made.settings.window + 2
    return await made.ask(None, route.method, target(route), body(route), headers)


async def ahead(made: World, route: Route) -> Answer:
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    made.clock.time += 3600
    headers = made.headers(who, route.method, path, query, body(route))
    made.clock.time -= 3600
    return await made.ask(None, route.method, target(route), body(route), headers)


async def revoked(made: World, route: Route) -> Answer:
    name = admitted(route)
    made.person("another operator", Role.OPERATOR)
    path = f"/v1/members/{made.people[name].id}/revoke"
    ended = await made.ask("another operator", "POST", path)
    assert ended.status == 200
    return await made.ask(name, route.method, target(route), body(route))


Attempt = Callable[[World, Route], Coroutine[Any, Any, Answer]]

BAD: dict[str, tuple[Attempt, int]] = {
    "request.unsigned": (unsigned, 401),
    "member.unknown": (unknown, 401),
    "member.revoked": (revoked, 401),
    "request.replayed": (replayed, 401),
}
FORGED = (wrong_key, altered_path, altered_query, altered_method, altered_digest)


@pytest.mark.parametrize("code", BAD)
@pytest.mark.parametrize("route", MEMBERS)
def test_strangers_the_revoked_and_repeats_are_refused(
    route: Route, code: str, tmp_path: Path
) -> None:
    attempt, status = BAD[code]
    found = asyncio.run(attempt(world(tmp_path), route))
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
@pytest.mark.parametrize("route", MEMBERS)
def test_forged_requests_are_refused(route: Route, forge: Attempt, tmp_path: Path) -> None:
    found = asyncio.run(forge(world(tmp_path), route))
    assert (found.status, found.code) == (401, "request.signature")


@pytest.mark.parametrize("when", [expired, ahead], ids=["expired", "ahead"])
@pytest.mark.parametrize("route", MEMBERS)
def test_requests_of_another_time_are_refused_with_the_time(
    route: Route, when: Attempt, tmp_path: Path
) -> None:
    made = world(tmp_path)
    found = asyncio.run(when(made, route))
    assert (found.status, found.code) == (401, "request.clock")
    assert found.json["error"]["facts"]["now"] == made.clock.now()


@pytest.mark.parametrize("route", READ)
def test_altered_bodies_are_refused(route: Route, tmp_path: Path) -> None:
    made = world(tmp_path)
    path, _, query = target(route).partition("?")
    who = made.people[admitted(route)]
    headers = made.headers(who, route.method, path, query, body(route))
    found = asyncio.run(made.ask(None, route.method, target(route), body(route) + b" ", headers))
    assert (found.status, found.code) == (401, "request.digest")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", MEMBERS)
def test_only_the_tables_roles_come_in(route: Route, role: Role, tmp_path: Path) -> None:
    found = asyncio.run(world(tmp_path).ask(NAMES[role], route.method, target(route), body(route)))
    assert route.roles is not None
    if role in route.roles:
        assert not found.code.startswith(REFUSALS)
        assert found.status < 500
    else:
        assert (found.status, found.code) == (403, "member.role")


@pytest.mark.parametrize("route", WALK)
def test_every_answer_has_the_headers_that_keep_browsers_off(route: Route, tmp_path: Path) -> None:
    found = asyncio.run(unsigned(world(tmp_path), route))
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "no-store"


def test_public_routes_are_few(tmp_path: Path) -> None:
    public = {f"{route.method} {route.path}" for route in ROUTES if route.roles is None}
    assert public == {
        "GET /health",
        "GET /ready",
        "GET /metrics",
        "GET /openapi.json",
        "GET /v1/hello",
        "POST /v1/enrol",
    }


@pytest.mark.parametrize("route", WALK)
@pytest.mark.parametrize("raw", [b"{", b"\xff\x00", b"[" * 5000, b'"x"', b'{"a": 1}', b"null"])
def test_garbage_is_the_senders_fault(route: Route, raw: bytes, tmp_path: Path) -> None:
    made = world(tmp_path)
    who = NAMES[min(route.roles)] if route.roles else NAMES[Role.CLIENT]
    found = asyncio.run(made.ask(who, route.method, target(route), raw))
    assert found.status < 500
    if route.takes is not None and route.takes is not bytes:
        large = len(raw) > route.limit
        assert found.code in (
            ("deploy.too-large",) if large else ("deploy.not-json", "deploy.meaning")
        )


def test_other_methods_and_paths_have_problems_too(tmp_path: Path) -> None:
    async def walk() -> None:
        made = world(tmp_path)
        for path in ("/", "/v1", "/v1/runs/", "/v1/runs/../members", "/metrics/x"):
            found = await made.ask(None, "GET", path)
            assert (found.status, found.code) == (404, "deploy.no-route")
        for path in {target(route).partition("?")[0] for route in ROUTES}:
            found = await made.ask(None, "DELETE", path)
            assert (found.status, found.code) == (405, "deploy.no-method")
            assert found.headers["allow"]

    asyncio.run(walk())


def test_head_has_no_body(tmp_path: Path) -> None:
    async def look() -> None:
        made = world(tmp_path)
        found = await made.ask(None, "HEAD", "/v1/hello")
        assert (found.status, found.body) == (200, b"")
        who = NAMES[Role.OPERATOR]
        found = await made.ask(who, "HEAD", "/v1/members")
        assert (found.status, found.body) == (200, b"")

    asyncio.run(look())


def test_bodies_that_are_too_large_are_refused_before_they_are_read(tmp_path: Path) -> None:
    async def attempt(declared: bool) -> Answer:
        made = world(tmp_path / str(declared))
        raw = b" " * ((1 << 20) + 1)
        headers = made.headers(made.people[NAMES[Role.CLIENT]], "POST", "/v1/work", "", raw)
        if declared:
            headers["Content-Length"] = str(len(raw))
        return await send(made.app, "POST", "/v1/work", "", raw, headers)

    for declared in (True, False):
        found = asyncio.run(attempt(declared))
        assert (found.status, found.code) == (413, "deploy.too-large")


def test_a_draining_coordinator_takes_nothing_new(tmp_path: Path) -> None:
    async def attempt() -> None:
        made = world(tmp_path)
        waiting = asyncio.create_task(
            made.ask(NAMES[Role.CLIENT], "POST", "/v1/work", {"wait": 30})
        )
        await asyncio.sleep(0)
        assert (await made.ask(None, "GET", "/ready")).status == 200
        await made.here.drain(1.0)
        assert (await waiting).json["tasks"] == []
        found = await made.ask(NAMES[Role.CLIENT], "POST", "/v1/work", {"wait": 30})
        assert (found.status, found.code) == (503, "deploy.draining")
        assert found.headers["retry-after"]
        assert (await made.ask(None, "GET", "/ready")).status == 503
        assert (await made.ask(None, "GET", "/health")).status == 200

    asyncio.run(attempt())


def test_what_fails_inside_is_an_incident_and_nothing_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = world(tmp_path)
    made.here.members = None  # type: ignore[assignment]  # a mistake of ours
    found = asyncio.run(made.ask(NAMES[Role.CLIENT], "POST", "/v1/work", {"wait": 0}))
    assert (found.status, found.code) == (500, "deploy.internal")
    incident = found.json["error"]["facts"]["incident"]
    assert "NoneType" not in found.body.decode()
    logged = capsys.readouterr()
    assert incident in logged.out + logged.err
