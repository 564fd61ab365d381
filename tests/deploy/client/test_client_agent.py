"""The agent: one answer a round, whatever happens; memory only of answers that were included."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.deploy.client import agent as agent_module
from tacit.deploy.client import database
from tacit.deploy.client.database import open_ledger
from tacit.deploy.client.diary import lines
from tacit.deploy.client.home import Home, alone
from tacit.deploy.client.records import Answer, Records
from tacit.deploy.identity.keys import Identity
from tacit.deploy.wire.messages import Turn
from tests.deploy.client.fake import (
    DATASET,
    RUN,
    Crashed,
    Drawing,
    Fake,
    Steps,
    agent,
    counted,
    federation,
    make_home,
    memory_of,
    over,
    worked,
)
from tests.deploy.client.virtual import VirtualClock, played


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested dies with its process, not with its machine."""
    quick = tuple(p.replace("synchronous=FULL", "synchronous=OFF") for p in database._PRAGMAS)
    monkeypatch.setattr(database, "_PRAGMAS", quick)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def fake_for(home: Home, **more: Any) -> Fake:
    return Fake(Identity.load(home.key), VirtualClock(), **more)


def text_of(home: Home) -> str:
    ledger = open_ledger(home)
    found = "\n".join(line.text for line in lines(ledger))
    ledger.close()
    return found


def test_a_run_from_joining_to_its_end(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    played(worked(agent(home, fake, runner), over(fake)))
    assert [joining.decision for joining in fake.joinings] == ["accept"]
    assert runner.turns == [0, 1, 2] and sorted(fake.got) == [0, 1, 2]
    assert memory_of(home) == [0, 1, 2] and len(list(home.memory.iterdir())) == 1
    assert not any(home.answers.iterdir()) and not any(home.work.iterdir())
    said = text_of(home)
    assert "'heart' (researcher Ada) accepted" in said
    assert "round 3 of 'heart' (researcher Ada): sends 64 B, SHA-256" in said
    assert "the coordinator can read it" in said and "is over: finished" in said


@pytest.mark.parametrize("dropped", [(), (0,)])
def test_a_crash_at_any_step_loses_nothing(tmp_path: Path, dropped: tuple[int, ...]) -> None:
    at, first, described = 0, make_home(tmp_path), federation(rounds=2)
    while True:
        at += 1
        steps = Steps(at)
        home = Home(Path(shutil.copytree(first.folder, tmp_path / f"{at}")))
        fake = fake_for(home, steps=steps, dropped=dropped, described=described)
        with counted(steps):
            try:
                played(worked(agent(home, fake, Drawing(os.urandom, steps)), over(fake)))
            except Crashed:
                steps.at = 0
                played(worked(agent(home, fake, Drawing(os.urandom, steps)), over(fake)))
            else:
                assert at > steps.count
                return
        assert [len(digests) for digests in fake.seen.values()] == [1, 1], steps.names[at - 1]
        assert {joining.decision for joining in fake.joinings} == {"accept"}
        assert memory_of(home) == [one for one in (0, 1) if one not in dropped]
        assert not fake.failures


def test_a_repeated_turn_sends_the_stored_bytes(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    bodies = []

    def forgetful(fake: Fake, request: Any) -> None:
        """The coordinator loses every answer of round 0 but the third."""
        if request.method == "PUT" and fake.round == 0:
            bodies.append(request.body.read())
            if len(bodies) < 3:
                fake.uploads.clear()
                raise ConnectionResetError

    fake.before = forgetful
    with pytest.raises(ConnectionResetError):
        played(worked(agent(home, fake, runner), over(fake)))
    for _ in range(2):
        fake.before = forgetful
        try:
            played(worked(agent(home, fake, runner), over(fake)))
        except ConnectionResetError:
            continue
    assert len(bodies) == 3 and len(set(bodies)) == 1
    assert runner.turns == [0, 1, 2] and memory_of(home) == [0, 1, 2]


def test_another_offer_for_an_answered_round_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    fake.asks = lambda fake: False
    played(worked(agent(home, fake, runner), lambda: fake.place == 0))
    fake.asks = lambda fake: True
    ledger = open_ledger(home)
    answer = Answer(RUN, 0, "0" * 64, "1" * 64, 64, "x", None, 1, "discarded")
    Records(ledger).made(answer, 0.0, "made.")
    ledger.close()
    played(worked(agent(home, fake, runner), lambda: bool(fake.failures), 100))
    assert {failure.code for _, failure in fake.failures} == {"round.offer-changed"}
    assert runner.turns == [] and not fake.seen


def test_a_resumed_run_gets_the_same_bytes_for_a_round_that_was_given_up(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home, dropped=(0,)), Drawing(os.urandom)
    fake.asks = lambda fake: fake.round == 0
    played(worked(agent(home, fake, runner), lambda: fake.round == 1, 10))
    played(worked(agent(home, fake, runner), lambda: False, 10))
    assert "the answer was not used (round.late)" in text_of(home)
    first = fake.got.pop(0)
    fake.round, fake.dropped, fake.asks = 0, (), lambda fake: True
    fake.uploads.clear()
    played(worked(agent(home, fake, runner), over(fake)))
    assert fake.got[0] == first and runner.turns == [0, 1, 2]
    assert memory_of(home) == [0, 1, 2]


def test_the_key_is_repeatable_in_a_rehearsal_alone(tmp_path: Path) -> None:
    policy = 'researchers = ["Ada"]\nhidden_answers = false\nrehearsals = true\n'
    home = make_home(tmp_path / "a", policy)
    fake, runner = fake_for(home, seed=7), Drawing(os.urandom)
    played(worked(agent(home, fake, runner), over(fake)))
    keys = [Key.seed(7) / "round" / round_ / "client" / 0 for round_ in range(3)]
    assert [work.key for work in runner.works] == keys
    home = make_home(tmp_path / "b", policy)
    fake, runner = fake_for(home), Drawing(os.urandom)
    played(worked(agent(home, fake, runner), over(fake)))
    assert not any(work.key.seeded for work in runner.works)
    assert len({work.key.secret for work in runner.works}) == 3


def test_a_refused_run_is_judged_again_only_when_the_rules_change(tmp_path: Path) -> None:
    home = make_home(tmp_path, "researchers = []\nhidden_answers = false\n")
    fake, runner = fake_for(home), Drawing(os.urandom)
    for _ in range(2):
        played(worked(agent(home, fake, runner), lambda: False, 200))
    (joining,) = fake.joinings
    assert joining.decision == "refuse"
    assert joining.reasons == (
        f"the researcher Ada ({fake.consider().researcher}) is not allowed here",
    )
    home.policy.write_text('researchers = ["Ada"]\nhidden_answers = false\n', "utf-8")
    played(worked(agent(home, fake, runner), over(fake)))
    assert [one.decision for one in fake.joinings] == ["refuse", "accept"]
    assert sorted(fake.got) == [0, 1, 2]


def test_a_policy_with_a_mistake_refuses_everything(tmp_path: Path) -> None:
    home = make_home(tmp_path, 'researcher = ["Ada"]\n')
    fake = fake_for(home)
    played(worked(agent(home, fake, Drawing(os.urandom)), lambda: bool(fake.joinings)))
    assert fake.joinings[0].reasons == ("the owner's policy cannot be used at the moment",)
    assert "Did you mean researchers?" in text_of(home) or "researcher" in text_of(home)


def test_rules_that_became_stricter_refuse_the_next_turn(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)

    def stricter(work: Any) -> None:
        home.policy.write_text("researchers = []\nhidden_answers = false\n", "utf-8")

    runner.fails = stricter
    played(worked(agent(home, fake, runner), lambda: bool(fake.failures)))
    round_, failure = fake.failures[0]
    assert (round_, failure.phase, failure.code) == (1, "policy", "policy.refused")
    assert "is not allowed here" in failure.reasons[0] and runner.turns == [0]


def test_a_turn_waits_for_the_owners_hours(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    fake.asks = lambda fake: False
    played(worked(agent(home, fake, runner), lambda: fake.place == 0))
    fake.asks = lambda fake: True
    closed = 'researchers = ["Ada"]\nhidden_answers = false\ncondition = ["/nowhere/at-all"]\n'
    home.policy.write_text(closed, "utf-8")
    played(worked(agent(home, fake, runner), lambda: False, 100))
    done = len(runner.turns)
    told = [failure.code for _, failure in fake.failures]
    assert told == ["policy.not-now"] and fake.failures[0][1].reasons == (
        "the owner's condition cannot be asked",
    )
    home.policy.write_text('researchers = ["Ada"]\nhidden_answers = false\n', "utf-8")
    played(worked(agent(home, fake, runner), over(fake)))
    assert sorted(fake.got) == [0, 1, 2] and len(runner.turns) == 3 > done


def test_the_owner_leaves_a_run(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom)
    fake.asks = lambda fake: False
    played(worked(agent(home, fake, runner), lambda: fake.place == 0))
    ledger = open_ledger(home)
    assert Records(ledger).leave(RUN, "the owner leaves", 0.0, "left.")
    assert not Records(ledger).leave(RUN, "the owner leaves", 0.0, "left.")
    ledger.close()
    played(worked(agent(home, fake, runner), lambda: len(fake.joinings) > 1))
    assert fake.joinings[-1].decision == "leave" and not runner.turns


def test_one_client_a_home(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with alone(home), pytest.raises(TacitError) as refused:
        played(agent(home, fake_for(home), Drawing(os.urandom)).run())
    assert refused.value.code == "client.running"
    with alone(home):
        pass


def test_a_turn_ends_with_its_run(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom, seconds=1e6)

    def ended(fake: Fake, request: Any) -> None:
        if runner.turns:
            fake.round = 3

    fake.before = ended
    played(worked(agent(home, fake, runner), over(fake), 1000))
    assert runner.turns == [0] and not fake.seen and not fake.failures
    assert "is over: finished" in text_of(home)


def test_signs_of_life_while_a_turn_is_computed(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake, runner = fake_for(home), Drawing(os.urandom, seconds=100.0)
    played(worked(agent(home, fake, runner), lambda: 0 in fake.got))
    alive = [poll for poll in fake.polls if poll.wait == 0 and poll.decided == (RUN,)]
    assert len(alive) >= 4


def test_data_sets_are_named_and_never_paths(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    fake = fake_for(home)
    one = agent(home, fake, Drawing(os.urandom), datasets=lambda home: ("others",))
    played(worked(one, lambda: bool(fake.joinings)))
    assert fake.joinings[0].reasons == (f"no data set is registered here as {DATASET!r}",)


def test_runs_take_their_turns_in_fair_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    async def take(desk: Any, turn: Turn, alive: Any) -> bool:
        taken.append(turn.run[0])
        return turn.run[0] != "c"  # the third one has to wait

    monkeypatch.setattr(agent_module, "take", take)
    home = make_home(tmp_path)
    turns = [msgspec.structs.replace(fake_for(home).turn(), run=name * 32) for name in "cab"]

    async def play() -> None:
        shift = agent_module.Shift(Mock())
        for _ in range(4):
            assert await shift._turns(turns)

    played(play())
    assert taken == ["a", "b", "c", "a", "b"]
