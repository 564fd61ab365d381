"""The client's own database: one answer a round, memory in order, versions, rights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from tacit.base.errors import TacitError
from tacit.deploy.client.database import Ledger, open_ledger
from tacit.deploy.client.diary import lines
from tacit.deploy.client.facts import Spend
from tacit.deploy.client.home import Home
from tacit.deploy.client.records import Answer, Records
from tacit.deploy.client.tables import meta
from tests.deploy.client.fake import DATASET, RUN
from tests.deploy.client.test_client_policy import asked

ANSWER = Answer(RUN, 0, "0" * 64, "1" * 64, 64, "a-0", "m-0", 1)
SPEND = Spend("the coordinator", "record", 1.0, 1e-5)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = open_ledger(Home(tmp_path))
    yield found
    found.close()


@pytest.fixture
def records(ledger: Ledger) -> Records:
    found = Records(ledger)
    found.decide(asked(), "accept", (), "b", (SPEND,), 1.0, "accepted.")
    return found


def test_a_second_answer_of_a_round_is_impossible(records: Records) -> None:
    records.made(ANSWER, 2.0, "made.")
    with pytest.raises(TacitError) as refused:
        records.made(replace(ANSWER, digest="2" * 64), 3.0, "made again.")
    assert refused.value.code == "store.conflict"
    assert records.answer(RUN, 0) == ANSWER
    assert [line.text for line in lines(records.ledger)] == ["accepted.", "made."]


def test_memory_never_goes_back(records: Records) -> None:
    late = replace(ANSWER, round=1, file="a-1", pending="m-1")
    records.made(ANSWER, 2.0, "made.")
    records.made(late, 3.0, "made.")
    assert records.settle(RUN, 1, 4.0, "in.", included=True, code="") == ("a-1",)
    assert records.settle(RUN, 0, 5.0, "in.", included=True, code="") == ("a-0", "m-0")
    assert records.memory(RUN) == "m-1" and records.files() == {"m-1"}
    assert records.settle(RUN, 0, 6.0, "in.", included=True, code="") is None


def test_a_discarded_answer_commits_nothing(records: Records) -> None:
    records.made(ANSWER, 2.0, "made.")
    records.sent(ANSWER, 2.5, "sent.")
    assert records.settle(RUN, 0, 3.0, "out.", included=False, code="round.late") == ()
    assert records.memory(RUN) is None and records.files() == {"a-0", "m-0"}
    records.made(replace(ANSWER, round=1, file="a-1", pending=None), 4.0, "made.")
    assert records.files() == {"a-1"}


def test_a_fate_of_no_answer_changes_nothing(records: Records) -> None:
    assert records.settle(RUN, 5, 3.0, "in.", included=True, code="") is None
    assert len(lines(records.ledger)) == 1


def test_what_was_accepted_stays_spent(records: Records) -> None:
    assert records.spent(DATASET, "") == (SPEND,) and records.spent(DATASET, RUN) == ()
    assert records.leave(RUN, "why", 2.0, "left.")
    records.over(RUN, "stopped", 3.0, "over.")
    assert records.spent(DATASET, "") == (SPEND,) and records.spent("others", "") == ()


def test_leaving_while_the_joining_is_told_is_not_forgotten(records: Records) -> None:
    assert records.leave(RUN, "why", 2.0, "left.")
    records.told(RUN, "accept", 3)
    (one,) = records.open_runs()
    assert (one.decision, one.told) == ("leave", False)


def test_a_newer_format_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as connection:
        connection.execute(update(meta).values(version=99))
    with pytest.raises(TacitError) as refused:
        open_ledger(Home(tmp_path))
    assert refused.value.code == "client.state-newer"


def test_only_the_owner_reads_it(ledger: Ledger, tmp_path: Path) -> None:
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
