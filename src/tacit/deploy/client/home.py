"""A client's home folder: which file is where, and what the coordinator's file says."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tacit.base.errors import TacitError
from tacit.base.plain import from_plain, to_plain
from tacit.base.toml import dumps, loads
from tacit.deploy.wire.files import sync_folder


@final
@dataclass(frozen=True)
class Home:
    """Paths of a client. Nothing in here is ever sent as it is."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "key"

    @property
    def coordinator(self) -> Path:
        """Whom the client works for: address and pinned authority."""
        return self.folder / "coordinator.toml"

    @property
    def policy(self) -> Path:
        """The owner's rules."""
        return self.folder / "policy.toml"

    @property
    def datasets(self) -> Path:
        """The registered data sets."""
        return self.folder / "datasets.toml"

    @property
    def state(self) -> Path:
        """What was decided, answered and told."""
        return self.folder / "state.db"

    @property
    def answers(self) -> Path:
        """Answers whose fate is open."""
        return self.folder / "answers"

    @property
    def memory(self) -> Path:
        """What is kept from round to round."""
        return self.folder / "memory"

    @property
    def offers(self) -> Path:
        """Models received."""
        return self.folder / "offers"

    @property
    def work(self) -> Path:
        """The turn that is being taken."""
        return self.folder / "work"

    @property
    def log(self) -> Path:
        """Details for the owner alone."""
        return self.folder / "log"

    def make_folders(self) -> None:
        """The folders, readable by their owner alone."""
        for folder in (self.folder, self.answers, self.memory, self.offers, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check(self, *, client: bool = True) -> None:
        """Raises `client.home-missing` where nobody has joined, or nobody who has data."""
        for file in (self.key, self.coordinator, *((self.policy,) if client else ())):
            if not file.is_file():
                raise TacitError(
                    "client.home-missing", home=self.folder, problem=f"{file.name} is not there"
                )


def default_home(name: str, user: Path | None = None) -> Home:
    """`~/.tacit/clients/NAME`."""
    return Home((user or Path.home()) / ".tacit" / "clients" / name)


@final
@dataclass(frozen=True)
class Coordinator:
    """Whom a member works with; `id`, `name` and `role` are the member's own.

    `authority` is the pinned certificate (PEM); empty: those that the system trusts.
    """

    url: str
    id: str
    name: str
    role: str
    fingerprint: str
    authority: str


def coordinator_text(coordinator: Coordinator) -> str:
    """The content of coordinator.toml."""
    about = "# Written by `tacit join`. The client trusts this authority and no other.\n"
    return about + dumps(to_plain(coordinator))


def read_coordinator(home: Home) -> Coordinator:
    """What coordinator.toml says; raises `client.home-missing`, `client.home-broken`."""
    home.check(client=False)
    try:
        text = home.coordinator.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        problem = getattr(wrong, "strerror", None) or "it is not UTF-8 text"
        raise TacitError("client.home-broken", file=home.coordinator, problem=problem) from wrong
    return loads(text, lambda plain: from_plain(Coordinator, plain), str(home.coordinator))


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Be the only client on this home; raises `client.running`.

    The lock is an exclusive transaction of an empty database: it is portable, and the operating
    system takes it back when the process dies, however it dies.
    """
    with closing(sqlite3.connect(home.folder / "lock", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as held:
            if "locked" in str(held):
                raise TacitError("client.running", home=home.folder) from held
            raise TacitError("store.cannot-open", place=home.folder, why=str(held)) from held
        yield


def keep(made: Path, place: Path) -> Path:
    """Move a finished file to where it stays, durably; `place`'s folder is on the same disk."""
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    made.replace(place)
    sync_folder(place.parent)
    return place


def emptied(folder: Path) -> Path:
    """The folder, there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder
