"""A run between real machines as a `Run`: what a coordinator's answers add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.examples import NamedClients
from tacit.plan.federation import Federation
from tacit.record.run import Run
from tacit.round.events import EVENTS, Answered, Event, Failed, Opened, event_from_plain
from tacit.sim.backend import Problem
from tacit.sim.engine import Outcome
from tacit.sim.personal import Models


def deployed_run(
    federation: Federation,
    params: Vector,
    history: Sequence[Mapping[str, float]],
    journal: Iterable[Mapping[str, object]],
    names: Mapping[int, str],
    seed: int | None,
) -> Run:
    """A finished run, for plots, reports and run folders.

    `params` are the shared coordinates of the model; `journal` the run's entries as plain data, of
    which the round machine's events are kept; `names` the clients by their places. Bytes are those
    that the plan says an offer and an answer have.
    """
    plan = federation.plan()
    events = _machine(journal)
    asked = sum(len(event.cohort) for event in events if isinstance(event, Opened))
    answered = sum(isinstance(event, Answered) for event in events)
    models = Models(plan, NamedClients((), ()), {"params": params}, lambda _: {}, Key.seed(0))
    outcome = Outcome(
        params,
        tuple(dict(row) for row in history),
        events,
        tuple(_problems(events, names)),
        None,
        answered * plan.cost.up,
        asked * plan.cost.down,
        models,
    )
    return Run(plan, outcome, seed, ())


def _machine(journal: Iterable[Mapping[str, object]]) -> tuple[Event, ...]:
    """The events that the round machine folds; others are the deployment's own."""
    return tuple(event_from_plain(entry) for entry in journal if entry.get("kind") in EVENTS)


def _problems(events: Iterable[Event], names: Mapping[int, str]) -> Iterable[Problem]:
    for event in events:
        if isinstance(event, Failed):
            name = names.get(event.client, f"client {event.client}")
            error = TacitError(
                "run.client-failed", client=name, round=event.round + 1, code=event.code
            )
            yield Problem(event.round, name, error)
