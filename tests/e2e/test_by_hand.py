"""The way that the README goes: two terminals, and every command by hand."""

from __future__ import annotations

import signal

import pytest

from tacit.learn.examples import Examples
from tacit.record.stored import load_run
from tests.e2e.world import NAMES, World, eventually, records

pytestmark = pytest.mark.xdist_group("e2e-by-hand")


def test_a_federation_between_processes(world: World) -> None:
    world.serve("--assemble", 3)
    for place, name in enumerate(NAMES):
        world.enrol(name)
        world.register(name, "app", records(place))
    ada = world.enrol("ada", "researcher")
    world.app()
    north = world.home("north").folder
    for name in NAMES:
        world.client(name)

    # Nobody may do anything yet, and the researcher reads why.
    run = world.submit()
    eventually(lambda: len(world.show(run)["refusals"]) == 3)
    reasons = " ".join(world.show(run)["refusals"][0]["reasons"])
    assert f"the researcher ada ({ada}) is not allowed here" in reasons
    assert "the owner approved only 1 peers" in reasons
    assert "ada" in world.log(run) and "refused to take part" in world.log(run)

    # A rule at a time: the same run is judged again.
    for name in NAMES:
        world.policy(name)
    world.told(run, "to take part: the owner approved only 1 peers, this client included")
    peers = world.say("peers", "list", "--home", north)["peers"]
    assert {(peer["name"], peer["approved"]) for peer in peers} == {
        ("east", False),
        ("south", False),
    }
    for name in NAMES:
        others = [other for other in NAMES if other != name]
        home = world.home(name).folder
        approved = world.say("peers", "approve", *others, "--home", home)["approved"]
        assert [one["name"] for one in approved] == others
    found = world.over(run)
    assert found["status"] == "finished" and found["round"] == found["rounds"] == 3
    assert [row["answers"] for row in found["history"]] == [3.0, 3.0, 3.0]
    assert world.say("runs", "list", "--on", world.url)["runs"][0]["id"] == run
    assert world.fetched(run).meta["seed"] is None

    # What left, in plain words, and in the log of a terminal that was left open.
    diary = world.diary("north")
    assert "sends" in diary and "the coordinator can read it" in diary
    assert diary.count("the answer is part of the sum") == 3
    assert "is over: finished" in eventually(
        lambda: world.said("north") if "is over" in world.said("north") else ""
    )
    shown = world.say("client", "show", "--home", north)
    assert shown["data"] == ["app"] and shown["runs"] == []

    # Followed to its end, by somebody who waits.
    told = world.shell("run", "app.toml", "--on", world.url, "--name", "second", "--quiet")
    assert load_run(world.folder / told.stdout.strip()).meta["rounds"]["counted"] == 3

    # Revoked: at once, in one line, and nobody else is harmed.
    assert world.say("members", "revoke", "north")["revoked"]
    assert "revoked" in world.tacit("members", "list").stdout
    eventually(lambda: "[member.revoked]" in world.said("north"))
    lines = [line for line in world.said("north").splitlines() if "member.revoked" in line]
    assert len(lines) == 1 and lines[0].startswith("The membership of north was revoked.")
    assert world.refused("peers", "list", "--home", north)["code"] == "member.revoked"
    assert world.processes["east"].poll() is None

    # The end: nobody dies with a traceback, nothing waits.
    assert world.end("coordinator", signal.SIGTERM) == 0
    assert [world.end(name, signal.SIGTERM) for name in NAMES] == [0, 0, 0]
    assert not any("Traceback" in world.said(who) for who in ("coordinator", *NAMES))


def test_stop_resume_and_leave(world: World) -> None:
    world.serve("--assemble", 2)
    world.enrol("ada", "researcher")
    world.owners(rules="minimum_cohort = 2")
    world.app(rounds="500\nquorum = 2")
    for name in NAMES:
        world.client(name)
    run = world.submit("app.toml", "--dataset", "app", "--name", "long")
    eventually(lambda: world.show(run)["round"] > 2)
    assert world.say("runs", "stop", "long", "--on", world.url)["status"] == "stopped"
    stopped = world.show(run)
    assert stopped["why"] and world.fetched("long").history

    assert world.say("runs", "resume", run[:8], "--on", world.url)["status"] == "running"
    eventually(lambda: world.show(run)["round"] > stopped["round"])
    home = world.home("south").folder
    assert world.say("client", "leave", run[:10], "--home", home)["left"] == [run]
    world.told(run, "south left.")
    later = world.show(run)["round"]
    eventually(lambda: world.show(run)["round"] > later + 1)
    assert world.refused("client", "leave", run, "--home", home)["code"] == "client.not-in-run"
    assert world.say("runs", "stop", run, "--on", world.url)["status"] == "stopped"
    assert "Stopped by ada." in world.log(run)


def test_data_that_does_not_fit_is_named_before_anything_runs(world: World) -> None:
    world.serve("--assemble", 2)
    world.enrol("ada", "researcher")
    world.owners(held=_wide)
    world.app()
    for name in NAMES:
        world.client(name)
    run = world.submit()
    log = world.told(run, "failed in round 1 (data")
    assert not any(str(number) in log for number in _wide(0).x.ravel()[:20])


def _wide(place: int) -> Examples:
    return records(place, shape=3)
