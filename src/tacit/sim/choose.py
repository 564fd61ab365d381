"""The choice of an engine is measured: a few real turns of the first cohort on each candidate.

Trial turns advance nothing: a turn's memory counts only once it is committed, randomness has a
name, and opening a round forgets what was computed before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.sim.backend import Backend, Receipt

BUDGET = 0.3
"""Seconds of measured turns for a candidate, or one group of clients where that takes longer."""

START_UP = 2.0
"""Seconds of work that must be left before processes are started only to be tried."""

CLEARLY = 0.9
"""A later candidate must take less than this part of the time to be preferred."""


class Candidate(NamedTuple):
    """An engine to try on `group` clients at once; `dear`: starting it costs seconds."""

    name: str
    start: Callable[[], Backend]
    group: int
    dear: bool = False


class Choice(NamedTuple):
    """The engine that was taken, and why, in one line."""

    name: str
    backend: Backend
    says: str


class _Tried(NamedTuple):
    """A candidate with the seconds that a round takes, or why it was not tried."""

    name: str
    backend: Backend | None
    round: float
    why: str = ""


def choose(
    plan: Plan,
    clients: Clients,
    key: Key,
    candidates: Sequence[Candidate],
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """The candidate with the shortest expected round; the others are closed.

    The first is the reference and must run; a later one that cannot is left out, with its reason.
    """
    offer = plan.algorithm.offer(plan.algorithm.start(plan.start(key / "start")))
    sample = _sample(plan, key)
    tried: list[_Tried] = []
    try:
        for candidate in candidates:
            tried.append(_tried(candidate, plan, offer, sample, tried, clock))
    except BaseException:
        _close(tried)
        raise
    best = tried[0]
    for one in tried[1:]:
        if one.round < CLEARLY * best.round:
            best = one
    _close([one for one in tried if one is not best])
    assert best.backend is not None
    return Choice(best.name, best.backend, _line(best, tried))


def _sample(plan: Plan, key: Key) -> list[int]:
    """The first cohort, in an order that says nothing about its clients' sizes."""
    federation = plan.federation
    cohort = federation.cohort.draw(federation.clients, key / "cohort" / 0)
    few = list(cohort) or list(range(min(federation.clients, plan.team.cohort)))
    order = (key / "trial").generator().permutation(len(few))
    return [few[i] for i in order]


def _tried(
    candidate: Candidate,
    plan: Plan,
    offer: Offer,
    sample: list[int],
    before: Sequence[_Tried],
    clock: Callable[[], float],
) -> _Tried:
    best = min((one.round for one in before), default=math.inf)
    if candidate.dear and best * plan.team.rounds < START_UP:
        return _Tried(candidate.name, None, math.inf, "not worth its start")
    backend = None
    try:
        backend = candidate.start()
        backend.open(0, offer)
        return _Tried(candidate.name, backend, _round(backend, candidate, plan, sample, clock))
    except TacitError as error:
        if backend is not None:
            backend.close()
        if not before:
            raise
        return _Tried(candidate.name, None, math.inf, error.cause.rstrip("."))
    except BaseException:
        if backend is not None:
            backend.close()
        raise


def _round(
    backend: Backend,
    candidate: Candidate,
    plan: Plan,
    sample: list[int],
    clock: Callable[[], float],
) -> float:
    """Expected seconds of a round: the first group warms up, the next are measured."""
    groups = _groups(sample, candidate.group)
    warm = [result.examples for result in backend.take(next(groups)) if isinstance(result, Receipt)]
    spent, taken, records = 0.0, 0, 0
    while spent < BUDGET and taken < len(sample):
        group = next(groups)
        began = clock()
        done = [result for result in backend.take(group) if isinstance(result, Receipt)]
        spent += clock() - began
        taken += len(group)
        records += sum(one.examples for one in done)
    if not records:
        return math.inf
    size = (records + sum(warm)) / max(1, taken + len(warm))
    return spent / records * size * plan.team.cohort


def _groups(sample: list[int], size: int) -> Iterator[list[int]]:
    """The sample in groups, again and again; nobody twice in a group."""
    around = cycle(sample)
    while True:
        yield [next(around) for _ in range(min(size, len(sample)))]


def _close(tried: Sequence[_Tried]) -> None:
    for one in tried:
        if one.backend is not None:
            one.backend.close()


def _line(best: _Tried, tried: Sequence[_Tried]) -> str:
    others = [
        f"{one.name} {one.why or _seconds(one.round)}" for one in tried if one.name != best.name
    ]
    beside = f" (measured beside: {'; '.join(others)})" if others else ""
    return f'Engine "{best.name}": {_seconds(best.round)} a round{beside}.'


def _seconds(span: float) -> str:
    if math.isinf(span):
        return "no result"
    return f"{span:.2g} s" if span >= 1 else f"{1000 * span:.2g} ms"
