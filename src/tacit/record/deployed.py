"""A run between real machines as a `Run`: what a coordinator's answers add up to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.deploy.remote import Remote, over
from tacit.deploy.wire.messages import EventFact, RunFact
from tacit.deploy.wire.packs import read_pack
from tacit.learn.examples import NamedClients
from tacit.plan.federation import Federation, from_plain
from tacit.record.run import Run
from tacit.round.events import EVENTS, Answered, Event, Failed, Opened, event_from_plain
from tacit.sim.backend import Problem
from tacit.sim.engine import Outcome
from tacit.sim.personal import Models


async def fetched(remote: Remote, run: str) -> Run:
    """A run as its coordinator has it now; raises `client.no-model` before the first one."""
    detail, result = await remote.show(run), await remote.result(run)
    lines = await journal(remote, run)
    with tempfile.TemporaryDirectory(prefix="tacit-fetch-") as place:
        file = await remote.fetch(result, Path(place) / "model.pack")
        params = read_pack(file)["params"].copy()
    return deployed_run(
        from_plain(detail.description),
        params,
        result.history,
        ({"kind": line.kind, **line.body} for line in lines),
        {one.index: one.name for one in detail.clients},
        detail.run.seed,
    )


async def journal(remote: Remote, run: str) -> list[EventFact]:
    """All lines that there are now."""
    lines: list[EventFact] = []
    while True:
        found = await remote.events(run, lines[-1].seq if lines else 0)
        lines += found.events
        if not found.events:
            return lines


def ended(fact: RunFact) -> None:
    """Raise `client.run-ended` for a run that is over and did not finish."""
    if over(fact.status) and fact.status != "finished":
        why = fact.why or "no reason was given"
        raise TacitError("client.run-ended", name=fact.name, status=fact.status, why=why)


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
