"""Buffered asynchronous rounds as events and effects; a part of the round machine.

Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, AISTATS 2022, "Federated Learning with
Buffered Asynchronous Aggregation", Algorithm 1: a fixed number of clients is always at work, each
with the newest model when it was asked; answers wait in a buffer, and whenever it holds `target`
of them they are summed and a new model begins. A round is thus one model. `Draw` asks for as many
clients as there is room for, `Opened` names them; who is at work, waits in the buffer or failed
with this model is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from tacit.round.events import (
    Answered,
    Ask,
    Close,
    Closed,
    Discard,
    Draw,
    Effect,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
)
from tacit.round.grown import Grown
from tacit.round.state import Outcome, Phase, Run

V = TypeVar("V")


def room(run: Run) -> int:
    """How many more clients may be at work."""
    return run.rules.concurrency - len(run.busy)


def taken(run: Run) -> frozenset[int]:
    """Who is not to be asked now."""
    return frozenset(run.busy) | frozenset(run.answered) | frozenset(run.failed)


def step(run: Run, event: Event) -> Outcome:
    """The next state and what must be done; pure, and total over all events."""
    match event:
        case Opened():
            return _opened(run, event)
        case Answered():
            return _answered(run, event)
        case Failed():
            return _failed(run, event)
        case Closed():
            return _closed(run, event)
    return run, ()


def _opened(run: Run, event: Opened) -> Outcome:
    if event.round != run.round or run.phase is Phase.CLOSING:
        return run, ()
    new = [client for client in dict.fromkeys(event.cohort) if client not in taken(run)]
    new = new[: room(run)]
    busy = {**run.busy, **dict.fromkeys(new, run.round)}
    run = replace(run, phase=Phase.COLLECTING, cohort=event.cohort, busy=busy)
    asks = tuple(Ask(run.round, client) for client in new)
    run, effects = _settle(run)
    return run, (*asks, *effects)


def _answered(run: Run, event: Answered) -> Outcome:
    code = _refusal(run, event)
    if code == "repeat":
        return run, ()
    if code:
        return run, (Discard(event.round, event.client, code),)
    run = replace(
        run,
        busy=_without(run.busy, event.client),
        answered=run.answered.grown(event.client, event.digest),
        versions={**run.versions, event.client: event.round},
    )
    return _go_on(run)


def _refusal(run: Run, event: Answered) -> str:
    """Why an answer does not count; a repeat of a waiting answer is nothing new."""
    if run.busy.get(event.client) == event.round:
        return ""
    if run.versions.get(event.client) == event.round:
        same = run.answered[event.client] == event.digest
        return "repeat" if same else "round.answered-twice"
    return "round.late" if event.round < run.round else "round.foreign"


def _failed(run: Run, event: Failed) -> Outcome:
    if run.busy.get(event.client) != event.round:
        return run, ()
    failed = run.failed.grown(event.client, event.code)
    return _go_on(replace(run, busy=_without(run.busy, event.client), failed=failed))


def _go_on(run: Run) -> Outcome:
    """Fill the room that has become free, unless a new model is near."""
    if run.phase is Phase.CLOSING:
        return run, ()
    if len(run.answered) >= run.rules.target:
        return _settle(run)
    return run, (Draw(run.round),)


def _settle(run: Run) -> Outcome:
    """Close with the first arrivals if there are enough; give the round up if no more can come."""
    if len(run.answered) >= run.rules.target:
        included = tuple(sorted([*run.answered][: run.rules.target]))
        return replace(run, phase=Phase.CLOSING, included=included), (Close(run.round, included),)
    if run.busy:
        return run, ()
    run = replace(run, missed=run.missed + 1)
    if run.missed >= run.rules.patience:
        return replace(run, phase=Phase.FAILED), (*_discards(run), Finish("round.quorum"))
    return _next(run, ())


def _closed(run: Run, event: Closed) -> Outcome:
    if run.phase is not Phase.CLOSING or event.round != run.round:
        return run, ()
    told = tuple(Include(run.versions[client], client) for client in run.included)
    run = replace(
        run,
        answered=Grown.of(_without(run.answered, *run.included)),
        versions=_without(run.versions, *run.included),
        missed=0,
        model=event.model,
    )
    return _next(run, told)


def _next(run: Run, effects: tuple[Effect, ...]) -> Outcome:
    """Go on with the next round, or finish; answers that wait stay in the buffer."""
    run = replace(run, phase=Phase.DRAWING, round=run.round + 1, included=())
    run = replace(run, failed=Grown())
    if run.round < run.rules.rounds:
        return run, (*effects, Draw(run.round))
    phase, code = (Phase.DONE, "") if run.model else (Phase.FAILED, "round.quorum")
    return replace(run, phase=phase), (*effects, *_discards(run), Finish(code))


def _discards(run: Run) -> tuple[Effect, ...]:
    """Answers that wait for a sum that will not come."""
    return tuple(Discard(run.versions[client], client, "round.quorum") for client in run.answered)


def _without(held: Mapping[int, V], *clients: int) -> dict[int, V]:
    gone = frozenset(clients)
    return {client: value for client, value in held.items() if client not in gone}
