"""`python -m tacit.testing.schedules`: play many schedules of faults and report what breaks.

Every schedule is that of a number, so a failure is found again by its number alone. A failing one
is shrunk and printed as Python.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from tacit.testing.schedule import Schedule, schedule_of, shrunk
from tacit.testing.world import World

SHARED: Final = Path("/dev/shm")  # noqa: S108  # a fresh folder is made in it
"""A disk in memory, where there is one: nothing here is to outlive the computer."""

TRIES: Final = 300
"""Most schedules that are played to shrink one."""


def play(schedule: Schedule, folder: Path) -> tuple[str, ...]:
    """Play one schedule on fresh disks below `folder`; gives what went wrong."""
    world = World(schedule, folder / "disks")
    world.play()
    return tuple(world.wrong)


def disks() -> tempfile.TemporaryDirectory[str]:
    """A folder for the disks of one process."""
    where = SHARED if os.access(SHARED, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="tacit-", dir=where)


def quiet() -> None:
    """Clients and coordinators that are tormented have much to say."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


def smallest(schedule: Schedule, folder: Path) -> Schedule:
    """A simpler schedule that breaks the same rule."""
    rule = _rule(play(schedule, folder))
    left = [TRIES]

    def fails(simpler: Schedule) -> bool:
        left[0] -= 1
        return left[0] >= 0 and _rule(play(simpler, folder)) == rule

    return shrunk(schedule, fails)


def _rule(wrong: Sequence[str]) -> str:
    """The first breach, without what differs from case to case."""
    return "".join(c for c in wrong[0] if not c.isdigit())[:40] if wrong else ""


def _several(seeds: Sequence[int]) -> list[tuple[int, tuple[str, ...]]]:
    """Numbers whose schedules break something, and what."""
    quiet()
    with disks() as folder:
        found = [(seed, play(schedule_of(seed), Path(folder))) for seed in seeds]
    return [(seed, wrong) for seed, wrong in found if wrong]


def _batches(first: int, count: int, size: int) -> Iterable[range]:
    end = first + count
    return (range(start, min(start + size, end)) for start in range(first, end, size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, report, and give 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="tacit.testing.schedules", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many schedules")
    parser.add_argument("--seed", type=int, default=0, help="the first one's number")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    asked = parser.parse_args(arguments)
    begun, done, broken = time.monotonic(), 0, []
    batches = tuple(_batches(asked.seed, asked.count, 100))
    with multiprocessing.get_context("spawn").Pool(asked.workers) as pool:
        for some in pool.imap(_several, batches):
            broken += some
            for seed, wrong in some:
                _say(f"\nschedule {seed} breaks: {'; '.join(wrong)}\n")
            done = min(done + 100, asked.count)
            spent = time.monotonic() - begun
            _say(f"\r{done} schedules, {len(broken)} broken, {spent:.0f} s")
    _say("\n")
    if broken:
        _explain(broken[:10])
    return 1 if broken else 0


def _explain(broken: Iterable[tuple[int, tuple[str, ...]]]) -> None:
    quiet()
    with disks() as folder:
        for seed, wrong in broken:
            _say(f"\nThe smallest that breaks as schedule {seed} does ({wrong[0]}):\n")
            _say(f"{smallest(schedule_of(seed), Path(folder)).literal}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
