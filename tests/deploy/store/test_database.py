"""Opening, transactions, and what a database answers when it cannot."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from tacit.base.errors import TacitError
from tacit.deploy.store import journal, members
from tacit.deploy.store.database import Database, open_database
from tacit.deploy.store.tables import REVISIONS, versions
from tests.deploy.postgres import PostgresServer
from tests.deploy.store.conftest import Opening
from tests.deploy.store.rows import member, with_run


def refused(url: str, **options: Any) -> TacitError:
    with pytest.raises(TacitError) as raised:
        open_database(url, **options)
    return raised.value


def fill(database: Database, lines: int, size: int) -> None:
    """Write a journal with this many lines in one transaction."""
    with database.begin() as c:
        run = with_run(c)
        journal.append(c, run, [(0.0, "x", {"text": "x" * size})] * lines)


def test_what_is_committed_is_there_after_reopening(shared_url: str, opening: Opening) -> None:
    first = opening(shared_url)
    with first.begin() as c:
        members.add(c, member(1))
    first.close()
    with opening(shared_url).read() as c:
        assert members.get(c, member(1).id) == member(1)


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail(c: Connection) -> None:
        members.add(c, member(1))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), database.begin() as c:
        fail(c)
    with database.read() as c:
        assert members.listed(c) == ()


def test_a_reader_sees_one_moment(shared_url: str, opening: Opening) -> None:
    database = opening(shared_url)
    with database.read() as reader:
        assert members.listed(reader) == ()
        with database.begin() as writer:
            members.add(writer, member(1))
        assert members.listed(reader) == ()
    with database.read() as reader:
        assert members.listed(reader) == (member(1),)


def test_a_reader_cannot_write_on_postgres(postgres_url: str, opening: Opening) -> None:
    database = opening(postgres_url)
    with pytest.raises(Exception, match="read-only"), database.read() as c:
        members.add(c, member(1))
    with database.begin() as c:  # the same connection, from the pool
        members.add(c, member(1))


def test_sqlite_is_durable_and_checks_references(tmp_path: Path, opening: Opening) -> None:
    with opening(f"sqlite:///{tmp_path}/a.db").read() as c:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [c.execute(text(f"PRAGMA {name}")).scalar_one() for name in pragmas]
    assert found == ["wal", 2, 1, 5000]


def test_the_files_are_for_this_user_alone(tmp_path: Path, opening: Opening) -> None:
    database = opening(f"sqlite:///{tmp_path}/new/folder/a.db")
    fill(database, 1, 1)
    folder = tmp_path / "new" / "folder"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_threads_share_the_database_in_memory(opening: Opening) -> None:
    database = opening("sqlite://")
    with database.begin() as c:
        run = with_run(c)

    def write() -> None:
        for _ in range(20):
            with database.begin() as c:
                journal.append(c, run, [(0.0, "x", {})])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as c:
        assert [line.seq for line in journal.entries(c, run)] == list(range(1, 81))


def test_two_databases_in_memory_are_two(opening: Opening) -> None:
    one, other = opening("sqlite://"), opening("sqlite://")
    with one.begin() as c:
        members.add(c, member(1))
    with other.read() as c:
        assert members.listed(c) == ()


def test_a_second_writer_waits_then_is_told(tmp_path: Path, opening: Opening) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    one, other = opening(url), opening(url)
    with one.begin():
        with other.engine.connect() as c:
            c.execute(text("PRAGMA busy_timeout=10"))
        with pytest.raises(TacitError) as raised, other.begin():
            pass
    assert raised.value.code == "store.busy"


def test_a_full_disk_is_said_and_keeps_what_was_there(tmp_path: Path, opening: Opening) -> None:
    database = opening(f"sqlite:///{tmp_path}/a.db")
    with database.begin() as c:
        members.add(c, member(1))
    with database.engine.connect() as c:
        c.execute(text("PRAGMA max_page_count=60"))  # SQLITE_FULL, as of a full disk
    with pytest.raises(TacitError) as raised:
        fill(database, 200, 4000)
    assert raised.value.code == "store.full"
    with database.read() as c:
        assert members.listed(c) == (member(1),)


def test_a_damaged_file_is_named(tmp_path: Path, opening: Opening) -> None:
    path = tmp_path / "a.db"
    database = opening(f"sqlite:///{path}")
    fill(database, 100, 1000)
    database.close()
    whole = path.read_bytes()
    path.write_bytes(b"garbage" * 1000)
    assert refused(f"sqlite:///{path}").code == "store.corrupt"
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with pytest.raises(TacitError) as raised, opening(f"sqlite:///{path}").read() as c:
        journal.entries(c, f"{0:032x}")
    assert raised.value.code == "store.corrupt"


def test_a_place_without_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(f"sqlite:///{tmp_path}/file/a.db").code == "store.cannot-open"
    assert refused(f"sqlite:///{tmp_path}").code == "store.cannot-open"


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    for url in ("secret", "mysql://me:secret@host/db", "postgresql+asyncpg://me:secret@host/db"):
        error = refused(url)
        assert error.code == "store.url"
        assert "secret" not in str(error)


def test_no_server_is_unreachable_without_the_password() -> None:
    for url in (
        "postgresql://me:secret@127.0.0.1:9/db?connect_timeout=2",
        "postgresql+psycopg://me@127.0.0.1:9/db?password=secret",
    ):
        error = refused(url)
        assert error.code == "store.unreachable"
        assert "127.0.0.1" in error.cause
        assert "secret" not in str(error) and error.__suppress_context__


def test_an_unknown_database_is_unreachable(postgres_server: PostgresServer) -> None:
    error = refused(postgres_server.url("nowhere"))
    assert error.code == "store.unreachable" and "nowhere" in error.cause


def test_a_lost_server_is_unreachable_until_it_is_back(
    postgres_server: PostgresServer, opening: Opening
) -> None:
    database = opening(postgres_server.fresh())
    with database.begin() as c:
        members.add(c, member(1))

    def fail(c: Connection) -> None:
        members.add(c, member(2))
        postgres_server.stop(signal.SIGQUIT)

    try:
        with pytest.raises(TacitError) as lost, database.begin() as c:
            fail(c)
        with pytest.raises(TacitError) as gone, database.read():
            pass
    finally:
        postgres_server.start()
    assert lost.value.code == gone.value.code == "store.unreachable"
    with database.read() as c:
        assert members.listed(c) == (member(1),)


def test_a_mistake_of_the_programmer_is_no_fault_of_the_store(database: Database) -> None:
    with pytest.raises(Exception, match="nonsense") as raised, database.read() as c:
        c.execute(text("SELECT nonsense"))
    assert not isinstance(raised.value, TacitError)


def test_a_newer_schema_is_refused(shared_url: str, opening: Opening) -> None:
    with opening(shared_url).begin() as c:
        c.execute(update(versions).values(version_num="9999"))
    error = refused(shared_url)
    assert error.code == "store.newer"
    assert "9999" in error.cause and REVISIONS[-1] in error.cause


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (marathon TEXT)")
    assert refused(f"sqlite:///{path}").code == "store.foreign"
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]


def test_an_unprepared_database_is_not_prepared_unasked(shared_url: str, opening: Opening) -> None:
    assert refused(shared_url, migrate=False).code == "store.older"
    open_database(shared_url).close()
    open_database(shared_url, migrate=False).close()


def test_a_new_database_needs_no_alembic() -> None:
    code = (
        "import sys; from tacit.deploy.store.database import open_database; "
        "open_database('sqlite://'); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_coordinators_that_start_together_make_one_schema(
    shared_url: str, opening: Opening
) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            open_database(shared_url).close()
        except TacitError as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with opening(shared_url, migrate=False).read() as c:
        assert members.listed(c) == ()
