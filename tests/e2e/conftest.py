"""Worlds of processes, ended with their test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.postgres import postgres_server, postgres_url
from tests.e2e.world import World

__all__ = ["postgres_server", "postgres_url", "world"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty current folder, and whatever is started in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    here = World(tmp_path)
    try:
        yield here
    finally:
        here.close()
