"""Virtual time passes in an instant, in order, and a deadlock is told."""

from __future__ import annotations

import asyncio

import pytest

from tacit.testing.virtual_time import Deadlock, LoopClock, VirtualLoop, run


def test_hours_pass_in_order() -> None:
    loop = VirtualLoop()
    clock = LoopClock(loop)
    heard: list[tuple[str, float]] = []

    async def worker(name: str, pause: float) -> None:
        for _ in range(3):
            await clock.sleep(pause)
            heard.append((name, clock.now() - 1e9))

    async def both() -> None:
        await asyncio.gather(worker("slow", 3600.0), worker("fast", 1800.0))

    run(both(), loop)
    assert heard == [
        ("fast", 1800.0),
        ("slow", 3600.0),
        ("fast", 3600.0),
        ("fast", 5400.0),
        ("slow", 7200.0),
        ("slow", 10800.0),
    ]


def test_a_clock_may_jump_without_waking_anybody_early() -> None:
    loop = VirtualLoop()
    clock = LoopClock(loop)

    async def jump() -> float:
        clock.ahead = -3600.0
        await clock.sleep(10.0)
        return clock.now()

    assert run(jump(), loop) == 1e9 - 3600.0 + 10.0


def test_waiting_for_nothing_is_told() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(never())
