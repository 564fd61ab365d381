"""Turns that fail: what is told, what stays at home, and how the client goes on."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.deploy.client.database import Ledger
from tacit.deploy.client.runner import Done, TurnFailed, Work
from tacit.deploy.identity.keys import Identity
from tests.deploy.client.fake import Drawing, Fake, agent, federation, make_home, over, worked
from tests.deploy.client.test_client_agent import fake_for, text_of
from tests.deploy.client.virtual import played

SECRET = "blood pressure 181"

LOCAL_NOISE = """
researchers = ["Ada"]
hidden_answers = false
"""


def broken(once: int) -> Any:
    def fails(work: Work) -> None:
        if work.round == once:
            raise TurnFailed(
                "code",
                "round.code-failed",
                error="ValueError",
                traceback="model.py:3 in loss",
                environment="e" * 64,
                reason=SECRET,
            )

    return fails


def failing(tmp_path: Path, described: tacit.Federation) -> tuple[Fake, str]:
    home = make_home(tmp_path, LOCAL_NOISE)
    fake, runner = fake_for(home, described=described), Drawing(os.urandom)
    runner.fails = broken(0)
    played(worked(agent(home, fake, runner), lambda: bool(fake.failures)))
    return fake, text_of(home)


def test_a_failure_names_phase_class_and_place_but_no_values(tmp_path: Path) -> None:
    fake, diary = failing(tmp_path, federation())
    told = fake.failures[0][1]
    assert (told.phase, told.code, told.error) == ("code", "round.code-failed", "ValueError")
    assert told.traceback == "model.py:3 in loss" and told.environment == "e" * 64
    assert SECRET not in repr(fake.failures) and SECRET in diary


def test_where_dp_is_promised_only_a_fixed_code_leaves(tmp_path: Path) -> None:
    noised = federation(protect=tacit.local_dp(8.0, 1e-5, clip=1.0), rounds=1)
    fake, diary = failing(tmp_path, noised)
    told = fake.failures[0][1]
    assert (told.phase, told.code) == ("code", "client.turn-failed")
    assert (told.error, told.traceback, told.environment, told.reasons) == ("", "", "", ())
    assert SECRET in diary


def test_a_failed_turn_is_taken_again_when_it_is_asked_for(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)

    def once(work: Work) -> None:
        if runner.turns == [0]:
            broken(0)(work)

    runner.fails = once
    played(worked(agent(home, fake, runner), over(fake)))
    assert runner.turns == [0, 0, 1, 2] and len(fake.failures) == 1


def test_a_full_disk_under_files_is_told_and_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    full = True

    def fails(work: Work) -> None:
        nonlocal full
        if full:
            full = len(fake.failures) < 2
            raise OSError(28, "No space left on device")

    runner.fails = fails
    played(worked(agent(home, fake, runner), over(fake)))
    assert {failure.phase for _, failure in fake.failures} == {"storage"}
    assert sorted(fake.got) == [0, 1, 2]
    assert all(len(digests) == 1 for digests in fake.seen.values())


def test_a_full_disk_under_the_records_is_told_and_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    real = Ledger.write

    def write(self: Ledger) -> Any:
        if runner.turns and len(fake.failures) < 3:
            raise TacitError("store.full", place=home.state, why="database or disk is full")
        return real(self)

    monkeypatch.setattr(Ledger, "write", write)
    played(worked(agent(home, fake, runner), over(fake)))
    assert [(failure.phase, failure.code) for _, failure in fake.failures] == [
        ("storage", "store.full")
    ] * 3
    assert sorted(fake.got) == [0, 1, 2] and runner.turns.count(0) == 4
    assert all(len(digests) == 1 for digests in fake.seen.values())


class Thief:
    """User code's process names the owner's key as its answer."""

    def __init__(self, how: str, key: Path) -> None:
        self.how, self.key = how, key

    async def turn(self, work: Work) -> Done:
        answer = work.folder / "answer"
        match self.how:
            case "path":
                answer = self.key
            case "symlink":
                answer.symlink_to(self.key)
            case "hardlink":
                answer.hardlink_to(self.key)
            case "above":
                answer = work.folder / ".." / ".." / "key"
        return Done(answer, "0" * 64, self.key.stat().st_size, None, 1)

    async def close(self) -> None:
        """Nothing runs."""


@pytest.mark.parametrize("how", ["path", "symlink", "hardlink", "above"])
def test_no_file_but_the_runners_own_is_taken_for_an_answer(tmp_path: Path, how: str) -> None:
    home = make_home(tmp_path)
    fake = fake_for(home)
    one = agent(home, fake, Drawing(os.urandom))
    one.runner = Thief(how, home.key)
    before = Identity.load(home.key).id
    played(worked(one, lambda: bool(fake.failures)))
    assert fake.failures[0][1].phase == "answer" and not fake.seen
    home.key.chmod(0o600)
    assert Identity.load(home.key).id == before


def test_what_the_owner_sees_of_a_coordinator_in_trouble(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake = fake_for(home)
    tries = []

    def away(fake: Fake, request: Any) -> None:
        tries.append(fake.clock.now())
        if len(tries) < 6:
            raise TacitError("client.unreachable", url="https://there", problem="nothing")

    fake.before = away
    played(worked(agent(home, fake, Drawing(os.urandom)), over(fake)))
    pauses = [b - a for a, b in pairwise(tries[:5])]
    assert pauses == [15.0] * 4 and sorted(fake.got) == [0, 1, 2]
