"""The schema's history: up, down, with data in it, on both databases."""

from __future__ import annotations

from itertools import pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, inspect, select, text

from tacit.base.errors import TacitError
from tacit.deploy.store import invitations, journal, leases, members, migrations, runs, vouches
from tacit.deploy.store import tables as tables_
from tacit.deploy.store.tables import HEAD, REVISIONS, blobs, metadata
from tacit.deploy.wire.messages import Role
from tests.deploy.store.conftest import Opening
from tests.deploy.store.rows import member, run, with_run

TABLES = set(metadata.tables)


def fill(connection: Connection) -> None:
    """A row in every table."""
    with_run(connection)
    members.add(connection, member(1))
    journal.append(connection, run().id, [(1.0, "opened", {"round": 1})])
    vouches.add(connection, member(0).id, member(1).id, b"signature")
    leases.take(connection, run().id, "me", 0.0, 10.0)
    connection.execute(insert(blobs).values(digest="ab", content=b"bytes"))
    invitations.invite(connection, invitations.Invited("ab", Role.CLIENT, None, 9.0, member().id))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def shape(connection: Connection) -> list[object]:
    """All that can be seen of a schema, with what Alembic does not compare."""
    seen = inspect(connection)
    return [
        (
            name,
            [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)],
            seen.get_pk_constraint(name),
            sorted(map(str, seen.get_foreign_keys(name))),
            sorted(map(str, seen.get_unique_constraints(name))),
            sorted(map(str, seen.get_check_constraints(name))),
            sorted(map(str, seen.get_indexes(name))),
        )
        for name in sorted(tables(connection))
    ]


def test_the_revisions_are_those_that_the_store_knows() -> None:
    settings = Config()
    settings.set_main_option("script_location", str(migrations.FOLDER))
    scripts = ScriptDirectory.from_config(settings)
    assert tuple(script.revision for script in reversed([*scripts.walk_revisions()])) == REVISIONS


def test_migrations_make_the_schema_of_the_tables(url: str, opening: Opening) -> None:
    database = opening(url)
    with database.begin() as c:
        made = shape(c)
        migrations.downgrade(c, "base")
        assert tables(c) == set()
        migrations.upgrade(c)
        assert compare_metadata(MigrationContext.configure(c), metadata) == []
        assert shape(c) == made


def test_a_difference_would_be_seen(url: str, opening: Opening) -> None:
    with opening(url).begin() as c:
        c.execute(text("ALTER TABLE runs ADD COLUMN surplus TEXT"))
        assert compare_metadata(MigrationContext.configure(c), metadata) != []


@pytest.mark.parametrize(("older", "newer"), [*pairwise(REVISIONS)])
def test_each_step_goes_up_and_down_with_data_in_it(
    url: str, older: str, newer: str, opening: Opening
) -> None:
    database = opening(url)
    with database.begin() as c:
        fill(c)
        for _ in range(2):
            migrations.downgrade(c, older)
            migrations.upgrade(c, newer)
        migrations.upgrade(c)
    with database.read() as c:
        assert tables(c) == TABLES
        assert members.listed(c) == (member(role=Role.RESEARCHER), member(1))
        assert runs.get(c, run().id) == run()
        assert [line.kind for line in journal.entries(c, run().id)] == ["opened"]
        lost = {"0001": tables_.vouches, "0002": tables_.blobs}[older]
        assert c.execute(select(func.count()).select_from(lost)).scalar_one() == 0


def test_down_to_nothing_with_data_in_it(url: str, opening: Opening) -> None:
    database = opening(url)
    with database.begin() as c:
        fill(c)
    with database.begin() as c:
        migrations.downgrade(c, "base")
    with database.read() as c:
        assert tables(c) == set()


def test_opening_upgrades_an_older_database(shared_url: str, opening: Opening) -> None:
    database = opening(shared_url)
    with database.begin() as c:
        fill(c)
        migrations.downgrade(c, REVISIONS[0])
    database.close()
    with pytest.raises(TacitError) as raised:
        opening(shared_url, migrate=False)
    assert raised.value.code == "store.older"
    assert REVISIONS[0] in raised.value.cause and HEAD in raised.value.cause
    with opening(shared_url).begin() as c:
        assert runs.get(c, run().id) == run()
        assert leases.take(c, run().id, "me", 0.0, 1.0)


def test_an_upgrade_that_fails_leaves_the_old_schema(shared_url: str, opening: Opening) -> None:
    database = opening(shared_url)
    with database.begin() as c:
        fill(c)
        migrations.downgrade(c, REVISIONS[0])
        c.execute(text("CREATE TABLE vouches (subject TEXT)"))  # in the way of the last statement
        before = shape(c)
    with pytest.raises(Exception, match="exists"):
        opening(shared_url)
    with database.read() as c:
        assert shape(c) == before
