"""The choice of an engine: by a clock that tests turn by hand, and once for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacit
from tacit.base.key import Key
from tacit.learn.algorithm import Offer
from tacit.learn.examples import as_clients
from tacit.plan.build import Plan
from tacit.sim import engines
from tacit.sim.backend import Receipt, Refusal
from tacit.sim.choose import Candidate, Choice, choose
from tacit.sim.engine import Row, run_plan
from tacit.sim.exact import Exact
from tests.sim.crews import data, federation

KEY = Key.seed(1)


class Timed:
    """The exact engine on a clock of its own: each record costs `pace` seconds."""

    def __init__(self, plan: Plan, pace: float, first: float = 0.0) -> None:
        self.inner = Exact(plan, as_clients(data()), KEY)
        self.memories, self.memory = self.inner.memories, self.inner.memory
        self.total, self.commit = self.inner.total, self.inner.commit
        self.pace, self.first, self.now, self.closed = pace, first, 0.0, 0

    def open(self, round_: int, offer: Offer) -> None:
        self.inner.open(round_, offer)

    def take(self, clients: Sequence[int]) -> Iterator[Receipt | Refusal]:
        CLOCK.now, self.first = CLOCK.now + self.first, 0.0
        for result in self.inner.take(clients):
            CLOCK.now += self.pace * (result.examples if isinstance(result, Receipt) else 1)
            yield result

    def close(self) -> None:
        self.closed += 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


def chosen(plan: Plan, candidates: list[tuple[str, Callable[[], Any], bool]]) -> Choice:
    given = [Candidate(name, begin, 2, dear) for name, begin, dear in candidates]
    return choose(plan, as_clients(data()), KEY, given, CLOCK)


def test_the_fastest_is_taken_and_the_others_are_closed() -> None:
    plan = federation(rounds=100).plan()
    slow, fast = Timed(plan, 0.01), Timed(plan, 0.002, first=9.0)
    found = chosen(plan, [("slow", lambda: slow, False), ("fast", lambda: fast, True)])
    assert found.name == "fast" and found.backend is fast
    assert (slow.closed, fast.closed) == (1, 0)
    seconds = 0.002 * sum(len(y) for _, y in data().values())
    assert found.says.startswith(f'Engine "fast": {1000 * seconds:.2g} ms a round')
    assert "measured beside: slow" in found.says


def test_a_little_faster_is_not_enough_to_leave_the_reference() -> None:
    plan = federation(rounds=100).plan()
    found = chosen(
        plan,
        [
            ("exact", lambda: Timed(plan, 0.01), False),
            ("other", lambda: Timed(plan, 0.0095), False),
        ],
    )
    assert found.name == "exact"


def test_processes_are_not_started_for_a_run_that_is_over_before() -> None:
    plan = federation(rounds=2).plan()

    def never() -> Any:
        raise AssertionError("it was started")

    found = chosen(plan, [("exact", lambda: Timed(plan, 1e-4), False), ("pool", never, True)])
    assert found.name == "exact" and "pool not worth its start" in found.says


def test_an_engine_that_cannot_run_is_left_out_with_its_reason() -> None:
    plan = federation(rounds=1000).plan()

    def refuses() -> Any:
        raise tacit.TacitError("run.worker-main", code="__main__:net")

    found = chosen(plan, [("exact", lambda: Timed(plan, 1.0), False), ("pool", refuses, True)])
    assert found.name == "exact" and "pool The code __main__:net is part of" in found.says
    with pytest.raises(tacit.TacitError, match="__main__:net"):
        chosen(plan, [("exact", refuses, False)])


def test_whatever_goes_wrong_nothing_stays_open() -> None:
    plan = federation(rounds=1000).plan()
    first = Timed(plan, 1.0)

    def breaks() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chosen(plan, [("exact", lambda: first, False), ("pool", breaks, True)])
    assert first.closed == 1


def test_trial_turns_advance_nothing() -> None:
    """A run on a backend that was tried gives the very bits of one on a fresh backend."""
    scaffold = tacit.scaffold(lr=0.1, batch=4, steps=5)
    plan = federation(algorithm=scaffold, cohort=tacit.fixed(size=4)).plan()
    tried = chosen(plan, [("exact", lambda: Timed(plan, 0.1), False)]).backend
    assert len(tried.memories) == 0
    clients = as_clients(data())
    found, fresh = run_plan(plan, clients, KEY, backend=tried), run_plan(plan, clients, KEY)
    assert found.params.tobytes() == fresh.params.tobytes()
    assert found.journal == fresh.journal


def test_auto_measures_says_why_and_gives_the_same_model() -> None:
    auto, exact = (tacit.simulate(federation(), data(), engine=one) for one in ("auto", "exact"))
    assert np.allclose(auto.model.params, exact.model.params, atol=1e-9)
    assert any(note.startswith('Engine "') and "a round" in note for note in auto.outcome.notices)


def test_auto_keeps_to_its_choice_when_a_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    whole = tacit.simulate(federation(), data(), engine="auto", checkpoint=tmp_path / "whole")

    def stops(row: Row) -> None:
        raise KeyboardInterrupt

    (kept / engines.CHOSEN).parent.mkdir()
    (kept / engines.CHOSEN).write_text((tmp_path / "whole" / engines.CHOSEN).read_text())
    with pytest.raises(KeyboardInterrupt):
        tacit.simulate(federation(), data(), engine="auto", checkpoint=kept, progress=stops)

    def never(*_: Any) -> Any:
        raise AssertionError("it was measured again")

    monkeypatch.setattr(engines, "measured", never)
    again = tacit.simulate(federation(), data(), engine="auto", checkpoint=kept)
    assert again.model.params.tobytes() == whole.model.params.tobytes()
