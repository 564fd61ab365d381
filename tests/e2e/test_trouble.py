"""What goes wrong on real machines: one clear line each, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter

import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client.home import Home, read_coordinator
from tacit.deploy.client.https import HttpsWire
from tacit.deploy.client.join import join
from tacit.deploy.client.transport import Wire
from tacit.deploy.clock import RealClock
from tacit.deploy.identity.invitation import Invitation
from tacit.deploy.wire.messages import Role
from tacit.learn.examples import Examples
from tests.e2e.world import APP, NAMES, World, described, eventually, records

pytestmark = pytest.mark.xdist_group("e2e-trouble")

CLOCK = """\
import os
import time

ahead, real = float(os.environ["AHEAD"]), time.time
time.time = lambda: real() + ahead
"""

MODEL = """\
from torch import nn


def model():
    return nn.Linear(2, 2)
"""


def test_clocks_that_are_an_hour_off(world: World) -> None:
    (world.folder / "off").mkdir()
    (world.folder / "off" / "sitecustomize.py").write_text(CLOCK, "utf-8")
    path = os.pathsep.join([str(world.folder / "off"), os.environ.get("PYTHONPATH", "")])
    world.serve()
    world.enrol("ada", "researcher")
    world.owners()
    world.app()
    ahead = {"north": "3600", "east": "-3600", "south": "0"}
    for name in NAMES:
        world.client(name, AHEAD=ahead[name], PYTHONPATH=path.rstrip(os.pathsep))
    assert world.over(world.submit())["status"] == "finished"
    for name, side in (("north", "ahead of"), ("east", "behind")):
        lines = [line for line in world.said(name).splitlines() if "clock" in line]
        assert len(lines) == 1 and f" seconds {side} the coordinator's" in lines[0]
    assert "clock" not in world.said("south")


def test_where_privacy_is_promised_a_failure_says_nothing(world: World) -> None:
    world.serve("--absent", 20)
    world.enrol("ada", "researcher")
    world.owners(rules="minimum_cohort = 2", held=_one_does_not_fit)
    plan = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(2,), classes=2),
        clients=3,
        rounds=1,
        quorum=2,
        algorithm=tacit.fedavg(lr=0.1),
        protect=tacit.local_dp(epsilon=3.0, delta=1e-5, clip=1.0),
    )
    (world.folder / "app.toml").write_text(described(plan), "utf-8")
    for name in NAMES:
        world.client(name)
    run = world.submit("app.toml", "--dataset", "app")
    assert world.over(run)["status"] == "finished"
    tried = [line["body"] for line in world.lines(run) if line["kind"] == "tried"]
    assert {(one["phase"], one["code"]) for one in tried} == {("code", "client.turn-failed")}
    assert all(
        not (one["reasons"] or one["error"] or one["traceback"] or one["environment"])
        for one in tried
    )
    home = world.home("north")
    log = home.log.read_text("utf-8") if home.log.is_file() else ""
    assert "shape" in log + world.diary("north")


def _one_does_not_fit(place: int) -> Examples:
    return records(place, shape=3 if place == 0 else 2)


def test_yesterdays_code_is_refused_and_the_researcher_reads_why(world: World) -> None:
    world.serve()
    world.enrol("ada", "researcher")
    world.owners(("south",), rules="minimum_cohort = 1")
    (world.folder / "model.py").write_text(MODEL, "utf-8")
    digest = hashlib.sha256(MODEL.encode()).hexdigest()
    task = f'[task]\nkind = "torch"\nmodel = "model:model"\nsource = "{digest}"\n'
    task += 'loss = "cross_entropy"\n'
    text = APP.replace('[task]\nkind = "numpy"\nmodel = "logistic_regression"\n', task)
    place, home = world.app(text), world.home("south").folder
    (home / "code").mkdir()
    code = home / "code" / "model.py"
    code.write_text(MODEL, "utf-8")
    world.tacit("approve", place, "--yes", "--home", home)
    code.write_text(MODEL.replace("2, 2", "2, 3"), "utf-8")
    world.client("south")
    done = world.shell("run", "app.toml", "--on", world.url, "--detach", "--json")
    assert '"status": "waiting"' in done.stdout
    log = world.told("app", "south refused to take part: the plan cannot be built here")
    assert "model" in log
    shown = world.say("approve", place, "--home", home)["code"][0]
    assert shown["state"] == "differs" and "+    return nn.Linear(2, 3)" in shown["diff"]


def test_fake_enrolments_are_refused_and_the_coordinator_answers(world: World) -> None:
    world.serve()
    operator = Home(world.folder / "coordinator" / "operator")
    known = read_coordinator(operator)

    async def reach(_: Invitation) -> tuple[str, Wire]:
        return known.authority, HttpsWire.open(known.url, known.authority)

    async def fake(number: int) -> str:
        text = Invitation(known.url, known.fingerprint, f"{number:032x}", Role.CLIENT, "x").text()
        try:
            await join(text, Home(world.folder / f"fake{number}"), Hasty(), os.urandom, reach=reach)
        except TacitError as refused:
            return refused.code
        return "let in"

    async def flood() -> Counter[str]:
        return Counter([code for start in range(0, 200, 20) for code in await wave(start)])

    async def wave(start: int) -> list[str]:
        return await asyncio.gather(*(fake(number) for number in range(start, start + 20)))

    found = asyncio.run(flood())
    assert "let in" not in found and sum(found.values()) == 200
    assert found["deploy.enrolments"] >= 100  # most are not even looked up
    assert set(found) <= {"deploy.enrolments", "invitation.unknown"}
    assert world.say("ready", "--home", world.folder / "coordinator") == {"ready": True}
    assert [one["name"] for one in world.say("members", "list")["members"]] == ["operator"]


class Hasty:
    """The clock of somebody who hardly waits between two tries."""

    def now(self) -> float:
        """The time."""
        return RealClock().now()

    async def sleep(self, _seconds: float) -> None:
        """Shortly."""
        await asyncio.sleep(0.2)


def test_garbage_is_refused_by_name(world: World) -> None:
    """Bytes that nobody signed, on every kind of path: an answer in JSON, and no incident."""
    world.serve()
    known = read_coordinator(Home(world.folder / "coordinator" / "operator"))
    wire = HttpsWire.open(known.url, known.authority)
    with wire.client as client:
        for path in ("/v1/work", "/v1/enrol", "/v1/runs", "/v1/runs/x/rounds/0/answer", "/", "/v1"):
            for method in ("POST", "PUT", "GET"):
                reply = client.request(method, path, content=os.urandom(3000))
                assert 400 <= reply.status_code < 500, (path, reply.text)
                assert set(reply.json()["error"]) >= {"code", "cause", "remedy"}
    assert "incident" not in world.said("coordinator")


def test_two_coordinators_on_one_database(world: World, postgres_url: str) -> None:
    """One of them is killed: the other takes its runs when the lease has run out."""
    shared = ("--database", postgres_url, "--blobs", world.folder / "blobs")
    world.serve(*shared)
    world.enrol("ada", "researcher")
    world.owners()
    world.app(rounds="400")
    for name in NAMES:
        world.client(name)
    run = world.submit()
    eventually(lambda: world.show(run)["round"] > 2)
    other = _twin(world, *shared)
    world.end("coordinator")
    for home in (world.home("ada", "members"), *map(world.home, NAMES)):
        text = home.coordinator.read_text("utf-8")
        home.coordinator.write_text(text.replace(world.url, other), "utf-8")
    world.url, before = other, world.url
    for name in NAMES:
        world.end(name)
        world.client(name)
    later = eventually(lambda: _round(world))
    assert later > 2 and before != other
    eventually(lambda: _round(world) > later)


def _twin(world: World, *shared: object) -> str:
    """Another coordinator with the same authority and the same database."""
    place = world.folder / "twin"
    (place).mkdir()
    (place / "authority").symlink_to(world.folder / "coordinator" / "authority")
    return world.serve(*shared, who="twin")


def _round(world: World) -> int:
    """How far the only run is; 0 until somebody here drives it."""
    try:
        return int(world.say("runs", "list", "--on", world.url)["runs"][0]["round"])
    except AssertionError as told:
        assert "deploy.elsewhere" in str(told)
        return 0
