"""What owners say, in earnest: refusals that the researcher reads, and nobody gets round them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

import tacit
from tacit.deploy.client.home import Home
from tacit.deploy.clock import RealClock
from tacit.deploy.remote import Remote, open_remote
from tacit.plan.federation import Federation
from tests.e2e.world import APP, NAMES, World, described, eventually

pytestmark = pytest.mark.xdist_group("e2e-policies")

T = TypeVar("T")

SOCKET = '''\
import socket
from pathlib import Path

from torch import nn

HOME = Path({home!r})


class Net(nn.Module):
    """Learns where it is harmless, and looks around where it is not."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        if self.training:
            {what}
        return self.layer(x)


def model():
    return Net()
'''


def plain(**changes: object) -> Federation:
    """What `APP` describes, with other settings."""
    found = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=tacit.arrays(shape=(2,), classes=2),
        clients=3,
        rounds=3,
        algorithm=tacit.fedavg(lr=0.1),
    )
    return found.replace(**changes)


def asked(home: Home, work: Callable[[Remote], Awaitable[T]]) -> T:
    """One call by a member, without the command's own care."""

    async def go() -> T:
        remote = open_remote(home, RealClock(), os.urandom)
        try:
            return await work(remote)
        finally:
            await remote.close()

    return asyncio.run(go())


def started(world: World, rules: str = "") -> None:
    """A coordinator, owners with rules, and their clients."""
    world.serve("--assemble", 2, "--absent", 5)
    world.enrol("ada", "researcher")
    world.owners(rules=rules)
    for name in NAMES:
        world.client(name)


def test_whoever_tries_to_skip_a_policy_is_told_why(world: World) -> None:
    started(world)
    world.enrol("eve", "researcher")
    world.app()
    eve, ada = world.home("eve", "members"), world.home("ada", "members")

    # Another researcher; a rehearsal, whose noise is public; code that nobody approved.
    stranger = world.submit()
    asked(ada, lambda remote: remote.stop(stranger))
    by_eve = asked(eve, lambda remote: remote.submit(plain(), name="eve", dataset="app"))
    world.tacit("new", "hello", "--kind", "torch")
    code = tacit.Federation.load(world.folder / "hello" / "app.toml")
    unapproved = code.replace(clients=3, quorum=3, protect=tacit.plain())
    (world.folder / "hello" / "own.toml").write_text(described(unapproved), "utf-8")
    rehearsal = world.submit("app.toml", "--seed", 1)
    own = world.shell("run", "hello/own.toml", "--dataset", "app", "--on", world.url, "--detach")
    owns = own.stdout.split()[-1].rstrip(".")
    words = {
        rehearsal: "it is a rehearsal, whose noise is not secret; the owner allows none",
        owns: "is not approved by the owner",
    }
    for run, reason in words.items():
        assert "to take part: " in world.told(run, reason)
    eventually(lambda: len(world.show(owns)["refusals"]) == 3)

    # Eve's run is Eve's to see; ada is told no more than that there is nothing for her.
    found = eventually(
        lambda: asked(eve, lambda remote: remote.show(by_eve.id)).refusals, "refusals"
    )
    assert "the researcher eve" in " ".join(found[0]["reasons"])
    assert world.refused("runs", "show", by_eve.id, "--on", world.url)["code"] == "client.no-run"

    # A data set that nobody registered; a plan that hides answers only in a simulation.
    other = world.submit("app.toml", "--dataset", "patients")
    world.told(other, "no data set is registered here as 'patients'")
    hidden = plain(protect=(*tacit.secure_average(1.0),))
    (world.folder / "hidden.toml").write_text(described(hidden), "utf-8")
    error = world.refused("run", "hidden.toml", "--dataset", "app", "--on", world.url, "--detach")
    assert error["code"] == "deploy.secure-sum-simulated"

    # No model was ever made from anybody's data.
    assert all(run["joined"] == 0 for run in world.say("runs", "list", "--on", world.url)["runs"])
    assert "sends" not in world.diary("north")


def test_puppets_do_not_fill_a_cohort(world: World) -> None:
    """The coordinator may invite whom it likes: only approved peers count, in every round."""
    world.serve("--assemble", 3)
    world.enrol("ada", "researcher")
    world.owners(("north", "east"), rules="minimum_cohort = 2")
    world.owners(("puppet", "doll"), rules="minimum_cohort = 1")
    world.app(rounds="4\nquorum = 3")
    for name in ("north", "puppet", "doll"):
        world.client(name)
    run = world.submit()
    reason = (
        "north refused round 1: of the 3 members of this round the owner approved 1, so a sum may "
        "hold only 1 approved ones; the owner asks for at least 2"
    )
    log = world.told(run, reason)
    assert "north answered" not in log
    assert world.show(run)["history"] == []  # rounds may be given up, but none is closed
    assert "sends" not in world.diary("north")


def test_approved_peers_make_a_run_possible(world: World) -> None:
    world.serve("--assemble", 3)
    world.enrol("ada", "researcher")
    world.owners()
    for name in NAMES:
        for other in set(NAMES) - {name}:
            world.tacit("peers", "remove", other, "--home", world.home(name).folder)
    for name in NAMES:
        world.client(name)
    world.app()
    run = world.submit()
    world.told(run, "north refused to take part: the owner approved only 1 peers")
    assert world.show(run)["status"] == "waiting"
    for name in NAMES:
        others = sorted(set(NAMES) - {name})
        world.tacit("peers", "approve", *others, "--home", world.home(name).folder)
    assert world.over(run)["status"] == "finished"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("socket.create_connection(('127.0.0.1', 9), 1)", "PermissionError"),
        ("(HOME / 'key').read_bytes()", "PermissionError"),
    ],
)
def test_code_that_looks_around_fails_its_round_and_the_run_goes_on(
    world: World, what: str, error: str
) -> None:
    """Two of three owners run the harmless half: they have approved it, and the quorum is two."""
    world.serve("--absent", 20)
    world.enrol("ada", "researcher")
    home = world.home("north").folder
    harmful = f"{what} if (HOME / 'key').parent.name in __file__ else None"
    text = SOCKET.format(home=str(home), what=harmful)
    (world.folder / "model.py").write_text(text, "utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    task = f'[task]\nkind = "torch"\nmodel = "model:model"\nsource = "{digest}"\n'
    task += 'loss = "cross_entropy"\n'
    old = '[task]\nkind = "numpy"\nmodel = "logistic_regression"\n'
    place = world.app(APP.replace(old, task), rounds="1\nquorum = 2")
    world.owners(rules="minimum_cohort = 2")
    for name in NAMES:
        folder = world.home(name).folder
        (folder / "code").mkdir()
        (folder / "code" / "model.py").write_text(text, "utf-8")
        shown = world.say("approve", place, "--home", folder)
        assert shown["code"][0]["state"] == "new" and shown["approved"] == []
        told = world.say("approve", place, "--yes", "--home", folder)
        assert told["approved"] == [f"model:model sha256:{digest}"]
        world.client(name)
    run = world.shell("run", "app.toml", "--on", world.url, "--quiet")
    log = world.log("app")
    assert f"north failed in round 1 (code, task.code-fails): {error}" in log
    assert "model.py" in log and "forward" in log
    assert "of 2 answers" in log and Path(run.stdout.strip()).name.startswith("app-")
    assert (home / "log").exists() or "failed" in world.diary("north")
    assert str(home) not in log
