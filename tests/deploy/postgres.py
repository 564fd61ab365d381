"""A real PostgreSQL server for tests: started once a worker, a fresh database for each test.

In a test or a conftest: `from tests.deploy.postgres import postgres_server, postgres_url`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import psycopg
import pytest

__all__ = ["PostgresServer", "postgres_server", "postgres_url"]

# Nothing here has to outlive a power cut, but commits outlive a killed server.
SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
}


def program(name: str) -> str:
    """Where one of PostgreSQL's programs is; Debian keeps them off the PATH."""
    found = shutil.which(name)
    if found:
        return found
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not kept:
        pytest.fail(
            f"These tests need a PostgreSQL server, and `{name}` is not on this machine: "
            "install it (Debian and Ubuntu: apt-get install postgresql).",
            pytrace=False,
        )
    return str(kept[-1])


def user() -> str | None:
    """Whom the server runs as: it refuses root, who then uses a system user."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@final
@dataclass
class PostgresServer:
    """A server in a folder of its own, reached by a socket there. It may be killed and started."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    made: list[str] = field(default_factory=list)

    def create(self) -> None:
        """Make the files of an empty cluster."""
        data = str(self.folder / "data")
        options = ["-D", data, "-U", "tacit", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        done = subprocess.run(
            [program("initdb"), *options], check=False, capture_output=True, **self._as_user()
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._launch()
        for _ in range(600):
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
            if self.process is None or self.process.poll() is not None:
                # What is left of a killed server may hold its memory for a moment.
                self._launch()
        pytest.fail((self.folder / "log").read_text(), pytrace=False)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT at once, SIGINT after undoing what is open, SIGKILL without a word."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def url(self, database: str = "postgres") -> str:
        """The address of a database of this server."""
        return f"postgresql+psycopg://tacit@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """The address of a new, empty database."""
        name = f"test{len(self.made)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        self.made.append(name)
        return self.url(name)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the server's own database."""
        return psycopg.connect(
            dbname="postgres", user="tacit", host=str(self.folder), autocommit=True
        )

    def _launch(self) -> None:
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self.folder / "data"), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), *place, *settings],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )

    def _as_user(self) -> dict[str, Any]:
        name = user()
        if name is None:
            return {"cwd": self.folder}
        entry = pwd.getpwnam(name)
        return {
            "cwd": self.folder,
            "user": entry.pw_uid,
            "group": entry.pw_gid,
            "extra_groups": [],
        }


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this worker. Not under pytest's folder: a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="tacit-pg-"))
    name = user()
    if name is not None:
        shutil.chown(folder, name)
    server = PostgresServer(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A database that no other test uses."""
    return postgres_server.fresh()
