"""Whole federations under generated trouble: nothing is lost, counted twice or left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.testing.schedule import CASES, CLIENTS, FAULTS, Fault, Schedule, schedule_of
from tacit.testing.schedules import play
from tacit.testing.world import World
from tests.deploy.schedules.regressions import REGRESSIONS

AT_ONCE = 100


@pytest.mark.parametrize("batch", range(20))
def test_no_schedule_breaks_a_rule(batch: int, folder: Path) -> None:
    seeds = range(batch * AT_ONCE, (batch + 1) * AT_ONCE)
    broken = {seed: wrong for seed in seeds if (wrong := play(schedule_of(seed), folder))}
    assert not broken


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_broke_once_holds(name: str, folder: Path) -> None:
    assert play(REGRESSIONS[name], folder) == ()


@pytest.mark.parametrize("case", CASES)
def test_a_calm_run_finishes_with_everybody_included(case: str, folder: Path) -> None:
    world = World(Schedule(1, case), folder / "disks")
    world.play()
    assert world.wrong == []
    assert world.status == "finished"


@pytest.mark.parametrize("seed", [3, 6, 17, 21])
def test_a_schedule_tells_the_same_story_again(seed: int, folder: Path) -> None:
    stories = []
    for _ in range(2):
        world = World(schedule_of(seed), folder / "disks")
        world.play()
        stories.append((world.story, world.loop.time(), world.host.operations))
    assert stories[0] == stories[1]


def faults() -> st.SearchStrategy[Fault]:
    """Any fault; hypothesis makes it simpler where it breaks something."""
    return st.builds(
        Fault,
        st.floats(0.0, 30.0).map(lambda at: round(at, 3)),
        st.sampled_from(sorted(FAULTS)),
        st.integers(-1, CLIENTS - 1),
        st.integers(0, 60),
        st.floats(0.0, 120.0).map(lambda seconds: round(seconds, 3)),
    )


def schedules() -> st.SearchStrategy[Schedule]:
    """Any schedule."""
    ordered = st.lists(faults(), max_size=6).map(lambda found: tuple(sorted(found)))
    return st.builds(Schedule, st.integers(0, 99), st.sampled_from(CASES), ordered)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedules())
def test_whatever_happens_the_rules_hold(folder: Path, schedule: Schedule) -> None:
    assert play(schedule, folder) == ()
