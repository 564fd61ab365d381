"""What a folded run still asks for: effects follow from the state, so a restart loses none."""

from __future__ import annotations

from tacit.round.events import Ask, Close, Draw, Effect
from tacit.round.state import Phase, Run


def pending(run: Run) -> tuple[Effect, ...]:
    """The effects that have not been answered by an event yet.

    Clients in ascending order. Outcomes (`Include`, `Discard`) and `Finish` follow from the events
    themselves and are not repeated.
    """
    match run.phase:
        case Phase.DRAWING:
            return (*_at_work(run), Draw(run.round))
        case Phase.COLLECTING if run.rules.concurrency:
            return _at_work(run)
        case Phase.COLLECTING:
            heard = frozenset(run.answered) | frozenset(run.failed)
            return tuple(Ask(run.round, client) for client in run.cohort if client not in heard)
        case Phase.CLOSING:
            return (*_at_work(run), Close(run.round, run.included))
    return ()


def _at_work(run: Run) -> tuple[Effect, ...]:
    """Clients of buffered rounds, each with the round whose model it was asked with."""
    return tuple(Ask(version, client) for client, version in sorted(run.busy.items()))
