"""Worlds of processes, ended with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.postgres import postgres_server, postgres_url
from tests.e2e.world import World

__all__ = ["postgres_server", "postgres_url", "world"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty folder, and whatever is started in it."""
    here = World(tmp_path)
    try:
        yield here
    finally:
        here.close()
