"""A folder of its own for every test, with the user's modules forgotten afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what is imported from it is imported anew in the next test."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    written = [name for name in set(sys.modules) - before if _is_inside(name, tmp_path)]
    for name in written:
        del sys.modules[name]


def _is_inside(module: str, folder: Path) -> bool:
    return str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(folder))
