"""Partners of the rules: a deployment with a known defect breaks one of them, and soon."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tacit.deploy.client import taking
from tacit.deploy.client.records import Answer, Records
from tacit.deploy.client.tables import answers, memory
from tacit.deploy.coordinator import asgi, clients, closing, driver, uploads
from tacit.deploy.wire.replays import Replays
from tacit.testing.schedule import Fault, Schedule, schedule_of
from tacit.testing.schedules import play, smallest

SOON = 200
"""Schedules within which every defect shows."""


def broken_by(folder: Path, rule: str, case: str = "") -> Schedule:
    """The first schedule that breaks a rule."""
    for seed in range(SOON):
        schedule = schedule_of(seed)
        if case in ("", schedule.case) and any(rule in one for one in play(schedule, folder)):
            return schedule
    raise AssertionError("no schedule breaks it")


def test_a_client_that_computes_its_answer_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Records.made

    def replaced(self: Records, answer: Answer, *rest: Any) -> None:
        with self.ledger.write() as connection:
            here = (answers.c.run == answer.run) & (answers.c.round == answer.round)
            connection.execute(delete(answers).where(here))
        made(self, answer, *rest)

    monkeypatch.setattr(Records, "made", replaced)
    monkeypatch.setattr(Records, "answer", lambda *_: None)
    monkeypatch.setattr(Records, "open_answers", lambda *_: ())
    broken_by(folder, "with different bytes", "earnest")


def test_a_coordinator_that_acknowledges_before_it_journals(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = uploads._count

    async def later(*given: Any) -> None:
        async def counted() -> None:
            await asyncio.sleep(0.2)
            await count(*given)

        asyncio.get_running_loop().create_task(counted())

    monkeypatch.setattr(uploads, "_count", later)
    broken_by(folder, "not journalled")


def test_a_client_that_commits_its_memory_when_it_has_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Records.sent

    def committed(self: Records, answer: Answer, *rest: Any) -> None:
        sent(self, answer, *rest)
        if answer.pending is not None:
            with self.ledger.write() as connection:
                connection.execute(delete(memory))
                kept = {"run": answer.run, "round": answer.round, "file": answer.pending}
                connection.execute(memory.insert().values(kept))

    monkeypatch.setattr(Records, "sent", committed)
    broken_by(folder, "remembers", "earnest_memory")


def test_a_coordinator_that_forgets_nonces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replays, "admit", lambda *_: None)
    broken_by(folder, "counted twice")


def test_a_coordinator_that_does_not_verify_signatures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "check", lambda *_: None)
    monkeypatch.setattr(Replays, "admit", lambda *_: None)
    tricks = tuple(Fault(0.6, "stranger", -1, number) for number in range(9))
    wrong = play(Schedule(1, "plain", tricks), folder)
    assert any("stranger" in one for one in wrong)


def test_a_client_that_does_not_flush_its_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(made: Path, place: Path) -> Path:
        made.replace(place)
        return place

    monkeypatch.setattr(taking, "keep", moved)
    cuts = (Fault(at / 10, "power", node, 2, 1.0) for at in range(4, 20) for node in range(3))
    assert any(play(Schedule(1, "scaffold", (one,)), folder) for one in cuts)


def test_a_coordinator_that_adds_in_the_order_of_arrival(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def reordered(what: Any, *rest: Any) -> Any:
        return closing.closed(replace(what, answers=what.answers[::-1]), *rest)

    monkeypatch.setattr(driver, "closed", reordered)
    broken_by(folder, "is not what the answers give")


def test_a_coordinator_that_knows_no_run_of_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any) -> tuple[dict[str, Any], set[str]]:
        return {}, set()

    monkeypatch.setattr(clients, "_visible", nothing)
    broken_by(folder, "wrong fate")


def test_what_breaks_is_made_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replays, "admit", lambda *_: None)
    faults = (
        Fault(0.1, "slow", 1, 1, 5.0),
        Fault(0.2, "repeat", 0, 0, 1.0),
        Fault(0.3, "delay", 2, 1, 1.0),
        Fault(0.4, "stranger", -1, 1),
    )
    found = smallest(Schedule(1, "plain", faults), folder)
    assert [fault.what for fault in found.faults] == ["repeat"]
    assert eval(found.literal, {"Schedule": Schedule, "Fault": Fault}) == found  # noqa: S307
