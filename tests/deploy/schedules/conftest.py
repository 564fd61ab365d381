"""Disks for schedules, in memory where the system has that, and silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tacit.testing.schedules import disks, quiet


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    quiet()
    with disks() as made:
        yield Path(made)
    logging.disable(logging.NOTSET)
    structlog.reset_defaults()
