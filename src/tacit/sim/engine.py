"""Drives a plan through the round machine in virtual time; a backend computes the turns.

The machine, the turn and the closing are the very ones that a deployment uses. Same plan, data,
key and faults give the same bits.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from tacit.base.clock import VirtualClock
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import State
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.plan.cohort import Buffered
from tacit.round.buffered import taken
from tacit.round.close import apply, open_sum, reported
from tacit.round.events import (
    Answered,
    Ask,
    Close,
    Closed,
    DeadlinePassed,
    Draw,
    Effect,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
)
from tacit.round.machine import Rules, Run, begin, fold, step
from tacit.sim.backend import Backend, Problem, Receipt, Refusal
from tacit.sim.buffered import Buffer, drawn
from tacit.sim.checkpoint import Checkpoints, Keeper, about
from tacit.sim.devices import Devices, Fleet
from tacit.sim.evaluate import Evaluation, evaluate
from tacit.sim.exact import Exact, digest
from tacit.sim.faults import Fault, Faults, none
from tacit.sim.personal import Models
from tacit.sim.snapshot import Snapshot

Row = dict[str, float]
"""One round of the history: numbers by name."""

Progress = Callable[[Row], None]


@final
@dataclass(frozen=True)
class Outcome:
    """What a simulation leaves: the model's vector, the history, the journal, and problems.

    `params` are the shared coordinates (plan.layout.size,); `models` has each client's whole model;
    `notices` say what a user should know, such as that the run was resumed.
    """

    params: Vector
    history: tuple[Row, ...]
    journal: tuple[Event, ...]
    problems: tuple[Problem, ...]
    final: Evaluation | None
    bytes_up: int
    bytes_down: int
    models: Models
    notices: tuple[str, ...] = ()


def run_plan(
    plan: Plan,
    clients: Clients,
    key: Key,
    test: Clients | None = None,
    faults: Faults = none,
    progress: Progress | None = None,
    backend: Backend | None = None,
    checkpoint: Checkpoints | None = None,
    devices: Devices | None = None,
) -> Outcome:
    """Run a plan to its end; raises `round.quorum` when too few clients can answer.

    With `checkpoint` it goes on from where an earlier run of the same plan was stopped; `devices`
    say how long answers take, and who is there.
    """
    cohort = plan.federation.cohort
    if isinstance(cohort, Buffered):
        backend = Buffer(plan, cohort, clients, key)
    chosen = backend or Exact(plan, clients, key)
    keeper = None
    if checkpoint:
        keeper = Keeper(checkpoint, about(plan, key, type(chosen).__name__, clients, test, devices))
    fleet = devices.at(plan, clients, key) if devices else None
    try:
        return _Engine(plan, clients, key, test, faults, progress, chosen, keeper, fleet).run()
    finally:
        chosen.close()


@final
class _Engine:
    """The mutable edge around the pure machine: queue, clock, model and history."""

    def __init__(
        self,
        plan: Plan,
        clients: Clients,
        key: Key,
        test: Clients | None,
        faults: Faults,
        progress: Progress | None,
        backend: Backend,
        keeper: Keeper | None,
        fleet: Fleet | None,
    ) -> None:
        self.plan, self.clients, self.key, self.test = plan, clients, key, test
        self.faults, self.progress, self.backend = faults, progress, backend
        self.keeper, self.fleet = keeper, fleet
        self.clock = VirtualClock()
        self.later: list[tuple[float, int, Event]] = []
        self.state: State = plan.algorithm.start(plan.start(key / "start"))
        self.losses: dict[int, float] = {}
        self.journal: list[Event] = []
        self.history: list[Row] = []
        self.problems: list[Problem] = []
        self.bytes_up = self.bytes_down = 0
        self.row: Row = {}
        self.machine: Run
        self.evaluation: Evaluation | None = None

    def run(self) -> Outcome:
        effects = self._start()
        waiting: deque[tuple[Effect, ...]] = deque([effects])
        while waiting:
            self._do(waiting.popleft())
            if not self.machine.over:
                waiting.append(self._happen())
        return Outcome(
            self.state["params"],
            tuple(self.history),
            tuple(self.journal),
            tuple(self.problems),
            self.evaluation,
            self.bytes_up,
            self.bytes_down,
            self.models,
            tuple(self.keeper.notices if self.keeper else ()),
        )

    def _start(self) -> tuple[Effect, ...]:
        """Begin, or go on from the last checkpoint."""
        found = self.keeper.load() if self.keeper else None
        if found is None:
            self.machine, effects = begin(rules(self.plan))
            return effects
        self._restore(found)
        return () if self.machine.over else (Draw(self.machine.round),)

    def _restore(self, found: Snapshot) -> None:
        self.state = found.state
        self.journal, self.later = list(found.journal), list(found.later)
        self.clock = VirtualClock(found.clock)
        self.bytes_up, self.bytes_down = found.bytes_up, found.bytes_down
        self.history = [dict(row) for row in found.history]
        self.problems = list(found.problems)
        self.backend.memories.restore(found.memories)
        if isinstance(self.backend, Buffer):
            self.backend.restore(found.held)
            self.losses = self.backend.losses()
        self.machine = fold(rules(self.plan), self.journal)
        self.backend.open(self.machine.round, self.plan.algorithm.offer(self.state))
        if self.history and self.test is not None:
            self.evaluation = self._evaluated(self.test)

    def _save(self) -> None:
        """Leave a checkpoint, if one is wanted now."""
        if self.keeper is None or not self.keeper.due(self.machine.round, over=self.machine.over):
            return
        self.keeper.save(
            Snapshot(
                self.machine.round,
                self.state,
                self.journal,
                self.later,
                self.clock.now(),
                self.bytes_up,
                self.bytes_down,
                self.history,
                self.problems,
                self.backend.memories.snapshot(),
                self.backend.snapshot() if isinstance(self.backend, Buffer) else (),
            )
        )

    def _happen(self) -> tuple[Effect, ...]:
        """Take the next event in virtual time through the machine."""
        moment, _, event = heapq.heappop(self.later)
        self.clock.advance(max(0.0, moment - self.clock.now()))
        self.journal.append(event)
        self.machine, effects = step(self.machine, event)
        return effects

    def _soon(self, event: Event, delay: float = 0.0) -> None:
        order = len(self.journal) + len(self.later)
        last = isinstance(event, DeadlinePassed)  # of simultaneous events
        heapq.heappush(self.later, (self.clock.now() + delay, order + (last << 60), event))

    def _do(self, effects: tuple[Effect, ...]) -> None:
        asks = [effect for effect in effects if isinstance(effect, Ask)]
        if asks:
            self._ask(asks)
        included = [effect.client for effect in effects if isinstance(effect, Include)]
        if included:
            self._included(included)
        for effect in effects:
            match effect:
                case Draw():
                    self._save()
                    self._draw(effect)
                case Close():
                    self._close(effect)
                case Finish(code=code) if code:
                    raise self._failure(code)
                case Finish():
                    self._save()

    def _draw(self, effect: Draw) -> None:
        cohort = self._cohort(self.key / "cohort" / effect.round)
        self.backend.open(effect.round, self.plan.algorithm.offer(self.state))
        waiting = {*self.machine.busy, *self.machine.answered}
        self.losses = {client: loss for client, loss in self.losses.items() if client in waiting}
        if isinstance(self.backend, Buffer):
            self.backend.keep(waiting)
            self._soon(Opened(effect.round, cohort))
            return
        wait = self.plan.federation.deadline
        self._soon(Opened(effect.round, cohort, self.clock.now() + wait if wait else 0.0))
        if wait:
            self._soon(DeadlinePassed(effect.round), wait)

    def _cohort(self, key: Key) -> tuple[int, ...]:
        """Whom to ask now, if need be after waiting for them."""
        law, clients = self.plan.federation.cohort, self.plan.federation.clients
        if isinstance(law, Buffered):
            if self.fleet and not self.machine.busy:
                self.clock = VirtualClock(
                    self.fleet.begins(self.clock.now(), 1, taken(self.machine))
                )
            here = self.fleet.present(self.clock.now()) if self.fleet else None
            return drawn(law, self.machine, clients, here, key / len(self.journal))
        if self.fleet is None:
            return law.draw(clients, key)
        self.clock = VirtualClock(self.fleet.begins(self.clock.now(), self.plan.team.quorum))
        return self.fleet.cohort(key, self.clock.now())

    def _ask(self, asks: list[Ask]) -> None:
        """Let the cohort take its turns, and deliver each answer when its fault says so."""
        round_ = asks[0].round
        faults = {ask.client: self.faults(round_, ask.client) for ask in asks}
        self.bytes_down += self.plan.cost.down * len(asks)
        for client, fault in faults.items():
            if fault.fail:
                self._deliver(client, self._lost(round_, client, fault.fail), 0)
        able = [client for client, fault in faults.items() if not fault.fail]
        for result in self.backend.take(able):
            records = result.examples if isinstance(result, Receipt) else 0
            self._deliver(result.client, self._heard(round_, result), records)

    def _fate(self, client: int, records: int) -> Fault:
        """What happens to the client's answer on its way."""
        round_ = self.machine.round
        fault = self.faults(round_, client)
        if self.fleet is None:
            return fault
        return self.fleet.fault(round_, client, records, self.clock.now(), fault)

    def _deliver(self, client: int, event: Event, records: int) -> None:
        fault = self._fate(client, records)
        wait = self.plan.federation.deadline
        if self.machine.rules.concurrency and wait and (fault.drop or fault.delay > wait):
            self._soon(Failed(self.machine.round, client, "round.lost"), wait)
            return
        if fault.drop:
            if not self.plan.federation.deadline:
                delay = fault.delay if self.fleet else 0.0
                self._soon(Failed(self.machine.round, client, "round.lost"), delay)
            return
        for copy in range(1 + fault.repeats):
            self._soon(event, fault.delay + copy)

    def _heard(self, round_: int, result: Receipt | Refusal) -> Event:
        if isinstance(result, Refusal):
            self.problems.append(result.problem)
            return Failed(round_, result.client, result.problem.error.code)
        self.losses[result.client] = result.loss
        self.bytes_up += self.plan.cost.up
        return Answered(round_, result.client, result.digest)

    def _lost(self, round_: int, client: int, code: str) -> Event:
        name = self.clients.name(client)
        self.problems.append(Problem(round_, name, TacitError("round.lost", client=name)))
        return Failed(round_, client, code)

    def _close(self, effect: Close) -> None:
        total, count = self.backend.total(effect.included)
        opening = open_sum(self.plan, total, count, self.key / "round" / effect.round / "open")
        self.state = apply(self.plan, self.state, opening)
        if not np.isfinite(self.state["params"]).all():
            raise TacitError("round.model-not-finite", round=effect.round + 1)
        self.row = {
            "round": effect.round + 1,
            "seconds": self.clock.now(),
            "answers": count,
            "failed": len(self.machine.failed),
            "bytes": self.bytes_up + self.bytes_down,
            "train_loss": float(np.mean([self.losses[client] for client in effect.included])),
            **reported(opening),
        }
        if self.machine.rules.concurrency:
            ages = [effect.round - self.machine.versions[client] for client in effect.included]
            self.row["staleness"] = float(np.mean(ages))
        self._soon(Closed(effect.round, digest(self.state["params"])))

    def _included(self, clients: list[int]) -> None:
        """Commit what these clients keep, and only then look at the models that they use."""
        for client in clients:
            self.backend.commit(client)
        self._record(self.row)

    @property
    def models(self) -> Models:
        """Every client's own model as it is now."""
        offer = self.plan.algorithm.offer(self.state)
        return Models(self.plan, self.clients, offer, self.backend.memory, self.key)

    def _evaluated(self, test: Clients) -> Evaluation:
        return evaluate(self.plan.task, self.models.tested_on(test), test)

    def _record(self, row: Row) -> None:
        if self.test is not None:
            found = self.evaluation = self._evaluated(self.test)
            row |= {
                "test_loss": found.loss,
                "test_accuracy": found.accuracy,
                "worst_client": found.worst,
                "spread": found.spread,
            }
        self.history.append(row)
        if self.progress:
            self.progress(row)

    def _failure(self, code: str) -> TacitError:
        """The error of a run that could not go on, naming the clients that failed last."""
        last = [p for p in self.problems if p.round >= self.machine.round - 1]
        told = "; ".join(f"{p.client}: {p.error.cause}" for p in last[:5])
        missing = "their answers were lost or came after the deadline."
        error = TacitError(code, problem=told or missing)
        error.__cause__ = last[0].error if last else None
        return error


def rules(plan: Plan) -> Rules:
    """A Poisson cohort is waited for as a whole: cutting it short would break its law."""
    federation, team = plan.federation, plan.team
    whole = federation.cohort.kind == "poisson"
    target = team.clients if whole else team.cohort
    law = federation.cohort
    working = law.concurrency if isinstance(law, Buffered) else 0
    return Rules(team.rounds, target, team.quorum, federation.patience, working)
