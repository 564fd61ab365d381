"""Runs, their journals and leases, on every database."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from tacit.base.errors import TacitError
from tacit.deploy.store import journal, leases, members, runs
from tacit.deploy.store.database import Database, open_database
from tacit.deploy.wire.messages import Role
from tests.deploy.store.conftest import Opening
from tests.deploy.store.rows import member, run, with_run

BODIES = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    max_size=3,
)


def test_a_run_comes_back_as_it_was(database: Database) -> None:
    with database.begin() as c:
        with_run(c, 0)
        with_run(c, 1)
        runs.set_status(c, run(1).id, "finished")
    with database.read() as c:
        assert runs.get(c, run(0).id) == run(0)
        assert runs.get(c, run(1).id) == run(1, status="finished")
        assert runs.get(c, "nothing") is None
        assert runs.with_status(c, "waiting") == (run(0),)
        assert runs.with_status(c) == ()


def test_runs_are_listed_newest_first_in_pages(database: Database) -> None:
    times = [3.0, 1.0, 2.0, 2.0]
    with database.begin() as c:
        members.add(c, member(role=Role.RESEARCHER))
        for number, at in enumerate(times):
            runs.add(c, run(number, at))
    with database.read() as c:
        everything = [int(row.id) for row in runs.listed(c)]
        assert everything == [0, 3, 2, 1]
        first = runs.listed(c, limit=2)
        second = runs.listed(c, limit=2, before=first[-1].id)
        assert [int(row.id) for row in first + second] == everything
        assert runs.listed(c, before=second[-1].id) == ()
        assert runs.listed(c, by="somebody else") == ()
        assert len(runs.listed(c, by=member().id)) == 4
        assert [int(row.id) for row in runs.with_status(c, "waiting", "x")] == [1, 2, 3, 0]


def test_a_run_is_added_once_and_by_a_member(database: Database) -> None:
    with pytest.raises(TacitError) as nobody, database.begin() as c:
        runs.add(c, run())
    with database.begin() as c:
        with_run(c)
    with pytest.raises(TacitError) as twice, database.begin() as c:
        runs.add(c, run())
    assert nobody.value.code == twice.value.code == "store.conflict"


def test_a_journal_is_in_order_and_read_in_pages(database: Database) -> None:
    with database.begin() as c:
        one, other = with_run(c, 0), with_run(c, 1)
        assert journal.append(c, one, []) == 0
        assert journal.append(c, one, [(1.0, "a", {"x": 1}), (0.5, "b", {})]) == 2
        assert journal.append(c, other, [(9.0, "z", {})]) == 1
    with database.begin() as c:
        assert journal.append(c, one, [(2.0, "c", {"loss": math.inf})]) == 3
    with database.read() as c:
        lines = journal.entries(c, one)
        assert lines == (
            journal.Entry(1, 1.0, "a", {"x": 1}),
            journal.Entry(2, 0.5, "b", {}),
            journal.Entry(3, 2.0, "c", {"loss": math.inf}),
        )
        assert journal.entries(c, one, after=1, limit=1) == lines[1:2]
        assert journal.entries(c, one, after=3) == ()
        assert journal.length(c, one) == 3


def test_an_append_stands_or_falls_with_its_transaction(database: Database) -> None:
    with database.begin() as c:
        one = with_run(c)

    def fail(c: Connection) -> None:
        journal.append(c, one, [(1.0, "a", {})])
        runs.set_status(c, one, "finished")
        journal.append(c, "no such run", [(1.0, "a", {})])

    with pytest.raises(TacitError), database.begin() as c:
        fail(c)
    with database.begin() as c:
        assert journal.entries(c, one) == ()
        assert runs.get(c, one) == run()
        assert journal.append(c, one, [(1.0, "a", {})]) == 1


def test_a_writer_that_was_overtaken_is_told(database: Database) -> None:
    with database.begin() as c:
        one = with_run(c)
        journal.append(c, one, [(1.0, "a", {})], after=0)
    with pytest.raises(TacitError) as raised, database.begin() as c:
        journal.append(c, one, [(1.0, "b", {})], after=0)
    assert raised.value.code == "store.conflict"
    with database.begin() as c:
        assert journal.append(c, one, [(1.0, "b", {})], after=1) == 2


def test_of_two_that_append_at_once_one_is_told(postgres_url: str, opening: Opening) -> None:
    one, other = opening(postgres_url), opening(postgres_url)
    with one.begin() as c:
        name = with_run(c)
    begun = threading.Event()
    codes: list[str] = []

    def second() -> None:
        try:
            with other.begin() as c:
                assert journal.length(c, name) == 0
                begun.set()
                journal.append(c, name, [(2.0, "b", {})])  # waits for the first to commit
        except TacitError as error:
            codes.append(error.code)

    thread = threading.Thread(target=second)
    with one.begin() as c:
        journal.append(c, name, [(1.0, "a", {})])
        thread.start()
        begun.wait()
        while not waiting(one):
            pass
    thread.join()
    assert codes == ["store.conflict"]
    with one.read() as c:
        assert [line.kind for line in journal.entries(c, name)] == ["a"]


def waiting(database: Database) -> bool:
    """Whether somebody waits for a lock on this PostgreSQL server."""
    with database.read() as c:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(c.exec_driver_sql(query).scalar_one())


@given(bodies=st.lists(BODIES, min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_comes_back_as_it_was(database: Database, bodies: list[dict[str, Any]]) -> None:
    with database.begin() as c:
        name = run().id if runs.get(c, run().id) else with_run(c)
        before = journal.length(c, name)
        journal.append(c, name, [(0.1, "x", body) for body in bodies])
        assert [line.body for line in journal.entries(c, name, after=before)] == bodies


def test_a_lease_is_taken_when_it_is_free_expired_or_own(database: Database) -> None:
    with database.begin() as c:
        name = with_run(c)
        assert leases.take(c, name, "me", now=0.0, seconds=10.0)
        assert not leases.take(c, name, "you", now=9.9, seconds=10.0)
        assert leases.take(c, name, "me", now=9.0, seconds=10.0)
        assert not leases.take(c, name, "you", now=10.0, seconds=10.0)
        assert leases.take(c, name, "you", now=19.0, seconds=10.0)
        leases.release(c, name, "me")
        assert not leases.take(c, name, "me", now=20.0, seconds=10.0)
        leases.release(c, name, "you")
        assert leases.take(c, name, "me", now=20.0, seconds=10.0)


@pytest.mark.parametrize("expired", [False, True])
def test_of_many_who_race_for_a_lease_one_wins(
    shared_url: str, opening: Opening, expired: bool
) -> None:
    databases = [opening(shared_url) for _ in range(4)]
    with databases[0].begin() as c:
        name = with_run(c)
        if expired:
            leases.take(c, name, "gone", now=0.0, seconds=1.0)
    together = threading.Barrier(4)
    won: list[bool] = []

    def race(number: int) -> None:
        together.wait()
        with databases[number].begin() as c:
            won.append(leases.take(c, name, f"holder {number}", now=5.0, seconds=10.0))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]


def test_a_lease_is_of_a_run_that_exists() -> None:
    database = open_database("sqlite://")
    with pytest.raises(TacitError) as raised, database.begin() as c:
        leases.take(c, "no such run", "me", 0.0, 1.0)
    database.close()
    assert raised.value.code == "store.conflict"
