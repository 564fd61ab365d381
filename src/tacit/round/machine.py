"""The round machine: one pure function `step(run, event) -> (run, effects)`.

Synchronous rounds with over-selection, quorum and deadline (Bonawitz et al. 2019, "Towards
Federated Learning at Scale: System Design", section 2), and buffered asynchronous ones (Nguyen et
al. 2022, "Federated Learning with Buffered Asynchronous Aggregation", Algorithm 1), see
`tacit.round.buffered`. Simulation, tests and a coordinator drive the same function; the state is
the fold of the events. Late, repeated and foreign events are ignored or discarded, never harmful.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

from tacit.round import buffered
from tacit.round.events import (
    Answered,
    Ask,
    Close,
    Closed,
    DeadlinePassed,
    Discard,
    Draw,
    Effect,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
    Stopped,
)
from tacit.round.grown import Grown
from tacit.round.state import Outcome, Phase, Rules, Run

__all__ = ["Outcome", "Phase", "Rules", "Run", "begin", "fold", "step"]


def begin(rules: Rules) -> Outcome:
    """A new run, and the effect that opens its first round."""
    return Run(rules), (Draw(0),)


def step(run: Run, event: Event) -> Outcome:
    """The next state and what must be done; pure, and total over all events."""
    if run.over:
        return run, ()
    if run.rules.concurrency and not isinstance(event, Stopped):
        return buffered.step(run, event)
    match event:
        case Stopped():
            return replace(run, phase=Phase.FAILED), (Finish("run.stopped"),)
        case Opened():
            return _opened(run, event)
        case Answered():
            return _answered(run, event)
        case Failed():
            return _failed(run, event)
        case DeadlinePassed():
            collecting = run.phase is Phase.COLLECTING and event.round == run.round
            return _settle(run) if collecting else (run, ())
        case Closed():
            return _closed(run, event)


def fold(rules: Rules, events: Iterable[Event]) -> Run:
    """The state after a journal."""
    run, _ = begin(rules)
    for event in events:
        run, _ = step(run, event)
    return run


def _opened(run: Run, event: Opened) -> Outcome:
    if run.phase is not Phase.DRAWING or event.round != run.round:
        return run, ()
    cohort = tuple(sorted(set(event.cohort)))
    run = replace(
        run,
        phase=Phase.COLLECTING,
        cohort=cohort,
        deadline=event.deadline,
        answered=Grown(),
        failed=Grown(),
        included=(),
    )
    if len(cohort) < run.rules.quorum:
        return _settle(run)
    return run, tuple(Ask(run.round, client) for client in cohort)


def _answered(run: Run, event: Answered) -> Outcome:
    code = _refusal(run, event)
    if code == "repeat":
        return run, ()
    if code:
        return run, (Discard(event.round, event.client, code),)
    run = run.heard(answered=run.answered.grown(event.client, event.digest))
    return _settle(run) if _complete(run) else (run, ())


def _refusal(run: Run, event: Answered) -> str:
    """Why an answer does not count; a repeat of a counted answer is nothing new."""
    if event.round != run.round:
        return "round.late" if event.round < run.round else "round.foreign"
    if not _invited(run, event.client):
        return "round.foreign"
    if event.client in run.answered:
        same = run.answered[event.client] == event.digest
        return "repeat" if same else "round.answered-twice"
    if run.phase is not Phase.COLLECTING:
        return "round.late"
    return "round.late" if event.client in run.failed else ""


def _invited(run: Run, client: int) -> bool:
    """Whether the client is in the cohort, which is in ascending order."""
    place = bisect_left(run.cohort, client)
    return place < len(run.cohort) and run.cohort[place] == client


def _failed(run: Run, event: Failed) -> Outcome:
    expected = (
        run.phase is Phase.COLLECTING
        and event.round == run.round
        and _invited(run, event.client)
        and event.client not in run.answered
    )
    if not expected or event.client in run.failed:
        return run, ()
    run = run.heard(failed=run.failed.grown(event.client, event.code))
    return _settle(run) if _complete(run) else (run, ())


def _complete(run: Run) -> bool:
    """Enough answers, or nobody left to wait for."""
    heard = len(run.answered) + len(run.failed)
    return len(run.answered) >= run.rules.target or heard == len(run.cohort)


def _settle(run: Run) -> Outcome:
    """Close with what is there, or give the round up."""
    included = tuple(client for client in run.cohort if client in run.answered)
    if len(included) >= run.rules.quorum:
        run = replace(run, phase=Phase.CLOSING, included=included)
        return run, (Close(run.round, included),)
    discards = tuple(Discard(run.round, client, "round.quorum") for client in included)
    run = replace(run, missed=run.missed + 1)
    if run.missed >= run.rules.patience:
        run = replace(run, phase=Phase.FAILED)
        return run, (*discards, Finish("round.quorum"))
    return _next(run, discards)


def _closed(run: Run, event: Closed) -> Outcome:
    if run.phase is not Phase.CLOSING or event.round != run.round:
        return run, ()
    told = tuple(Include(run.round, client) for client in run.included)
    return _next(replace(run, missed=0, model=event.model), told)


def _next(run: Run, effects: tuple[Effect, ...]) -> Outcome:
    """Go on with the next round, or finish. A round that was given up is not repeated."""
    following = run.round + 1
    if following >= run.rules.rounds:
        failed = not run.model
        phase = Phase.FAILED if failed else Phase.DONE
        run = replace(run, phase=phase, round=following)
        return run, (*effects, Finish("round.quorum" if failed else ""))
    run = replace(run, phase=Phase.DRAWING, round=following, cohort=())
    run = replace(run, answered=Grown(), failed=Grown())
    return run, (*effects, Draw(following))
