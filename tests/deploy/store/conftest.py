"""Each database that tacit stores in: what holds for one must hold for the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import pytest

from tacit.deploy.store.database import Database, open_database
from tests.deploy.postgres import postgres_server, postgres_url

__all__ = ["Opening", "postgres_server", "postgres_url"]


class Opening(Protocol):
    """Opens a database for the length of a test."""

    def __call__(self, url: str, *, migrate: bool = True) -> Database: ...


@pytest.fixture(params=["memory", "file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/state/tacit.db"


@pytest.fixture(params=["file", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that several connections may open."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/state/tacit.db"


@pytest.fixture
def opening() -> Iterator[Opening]:
    """Opens databases, and closes them when the test is over."""
    with ExitStack() as stack:

        def opened(url: str, *, migrate: bool = True) -> Database:
            return stack.enter_context(closing(open_database(url, migrate=migrate)))

        yield opened


@pytest.fixture
def database(url: str, opening: Opening) -> Database:
    return opening(url)
