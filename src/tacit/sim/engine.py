"""The exact engine: client by client, through the very machine and turn that a deployment uses.

Events happen in virtual time. Same plan, data, key and faults give the same bits.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from tacit.base.clock import VirtualClock
from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import State
from tacit.learn.examples import Clients
from tacit.plan.build import Plan
from tacit.round.close import add, apply, open_sum, reported
from tacit.round.events import (
    Answered,
    Ask,
    Close,
    Closed,
    DeadlinePassed,
    Draw,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
)
from tacit.round.machine import Rules, Run, begin, step
from tacit.round.turn import Memories, Turn, take_turn
from tacit.sim.evaluate import Evaluation, evaluate
from tacit.sim.faults import Faults, none

Row = dict[str, float]
"""One round of the history: numbers by name."""


class Problem(NamedTuple):
    """A client that failed a round: who, when, and what to do."""

    round: int
    client: str
    error: TacitError


@final
@dataclass(frozen=True)
class Outcome:
    """What a simulation leaves: the model's vector, the history, the journal, and problems."""

    params: Vector
    history: tuple[Row, ...]
    journal: tuple[Event, ...]
    problems: tuple[Problem, ...]
    final: Evaluation | None
    bytes_up: int
    bytes_down: int


Progress = Callable[[Row], None]


def run_exact(
    plan: Plan,
    clients: Clients,
    key: Key,
    test: Clients | None = None,
    faults: Faults = none,
    progress: Progress | None = None,
) -> Outcome:
    """Run a plan to its end; raises `round.quorum` when too few clients can answer."""
    return _Engine(plan, clients, key, test, faults, progress).run()


@final
class _Engine:
    """The mutable edge around the pure machine: queue, clock, stored answers and memories."""

    def __init__(
        self,
        plan: Plan,
        clients: Clients,
        key: Key,
        test: Clients | None,
        faults: Faults,
        progress: Progress | None,
    ) -> None:
        self.plan, self.clients, self.key, self.test = plan, clients, key, test
        self.faults, self.progress = faults, progress
        self.clock = VirtualClock()
        self.later: list[tuple[float, int, Event]] = []
        self.state: State = plan.algorithm.start(plan.task.start(key / "start"))
        self.memories: dict[int, Memories] = {}
        self.turns: dict[int, Turn] = {}
        self.journal: list[Event] = []
        self.history: list[Row] = []
        self.problems: list[Problem] = []
        self.bytes_up = self.bytes_down = 0
        self.machine: Run
        self.evaluation: Evaluation | None = None

    def run(self) -> Outcome:
        self.machine, effects = begin(_rules(self.plan))
        waiting: deque[Any] = deque(effects)
        while not self.machine.over or waiting:
            while waiting:
                self._do(waiting.popleft())
            if not self.machine.over:
                waiting.extend(self._happen())
        return Outcome(
            self.state["params"],
            tuple(self.history),
            tuple(self.journal),
            tuple(self.problems),
            self.evaluation,
            self.bytes_up,
            self.bytes_down,
        )

    def _happen(self) -> tuple[Any, ...]:
        """Take the next event in virtual time through the machine."""
        moment, _, event = heapq.heappop(self.later)
        self.clock.advance(max(0.0, moment - self.clock.now()))
        self.journal.append(event)
        self.machine, effects = step(self.machine, event)
        return effects

    def _soon(self, event: Event, delay: float = 0.0) -> None:
        order = len(self.journal) + len(self.later)
        heapq.heappush(self.later, (self.clock.now() + delay, _order(order, event), event))

    def _do(self, effect: Any) -> None:
        match effect:
            case Draw():
                self._draw(effect)
            case Ask():
                self._ask(effect)
            case Close():
                self._close(effect)
            case Include():
                turn = self.turns.pop(effect.client)
                if turn.pending:
                    self.memories[effect.client] = turn.pending
            case Finish(code=code) if code:
                raise self._failure(code)

    def _draw(self, effect: Draw) -> None:
        federation = self.plan.federation
        key = self.key / "cohort" / effect.round
        cohort = federation.cohort.draw(federation.clients, key)
        self.turns.clear()
        deadline = self.clock.now() + federation.deadline if federation.deadline else 0.0
        self._soon(Opened(effect.round, cohort, deadline))
        if deadline:
            self._soon(DeadlinePassed(effect.round), federation.deadline)

    def _ask(self, effect: Ask) -> None:
        """Let a client take its turn, and deliver what comes of it when its fault says so."""
        self.bytes_down += self.plan.cost.down
        fault = self.faults(effect.round, effect.client)
        event = self._failed(effect, fault.fail) if fault.fail else self._turn(effect)
        if fault.drop:
            if not self.plan.federation.deadline:
                self._soon(Failed(effect.round, effect.client, "round.lost"))
            return
        for copy in range(1 + fault.repeats):
            self._soon(event, fault.delay + copy)

    def _turn(self, effect: Ask) -> Event:
        name = self.clients.name(effect.client)
        key = self.key / "round" / effect.round / "client" / effect.client
        memory = self.memories.get(effect.client, {})
        offer = self.plan.algorithm.offer(self.state)
        try:
            held = self.clients.examples(effect.client)
            turn = take_turn(self.plan, held, offer, memory, key, name, effect.round)
        except TacitError as error:
            self.problems.append(Problem(effect.round, name, error))
            return Failed(effect.round, effect.client, error.code)
        except Exception as error:  # noqa: BLE001  # user code may raise anything; it becomes a named failure
            self.problems.append(Problem(effect.round, name, _wrapped(error, name, effect.round)))
            return Failed(effect.round, effect.client, "round.code-failed")
        self.turns[effect.client] = turn
        self.bytes_up += self.plan.cost.up
        return Answered(effect.round, effect.client, _digest(turn.answer))

    def _failed(self, effect: Ask, code: str) -> Event:
        error = TacitError("round.lost", client=self.clients.name(effect.client))
        self.problems.append(Problem(effect.round, self.clients.name(effect.client), error))
        return Failed(effect.round, effect.client, code)

    def _close(self, effect: Close) -> None:
        answers = [self.turns[client] for client in effect.included]
        total, count = add(turn.answer for turn in answers)
        opening = open_sum(self.plan, total, count, self.key / "round" / effect.round / "open")
        self.state = apply(self.plan, self.state, opening)
        if not np.isfinite(self.state["params"]).all():
            raise TacitError("round.model-not-finite", round=effect.round)
        row: Row = {
            "round": effect.round + 1,
            "seconds": self.clock.now(),
            "answers": count,
            "failed": len(self.machine.failed),
            "bytes": self.bytes_up + self.bytes_down,
            "train_loss": float(np.mean([turn.loss for turn in answers])),
            **reported(opening),
        }
        self._record(row)
        self._soon(Closed(effect.round, _digest(self.state["params"])))

    def _record(self, row: Row) -> None:
        if self.test is not None:
            found = evaluate(self.plan.task, self.state["params"], self.test)
            self.evaluation = found
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


def _rules(plan: Plan) -> Rules:
    """A Poisson cohort is waited for as a whole: cutting it short would break its law."""
    federation, team = plan.federation, plan.team
    whole = federation.cohort.kind == "poisson"
    target = team.clients if whole else team.cohort
    return Rules(team.rounds, target, team.quorum, federation.patience)


def _order(order: int, event: Event) -> int:
    """Of simultaneous events a deadline comes last."""
    return order + (1 << 60) * isinstance(event, DeadlinePassed)


def _digest(vector: Vector) -> str:
    return hashlib.blake2b(np.ascontiguousarray(vector).data, digest_size=16).hexdigest()


def _wrapped(error: Exception, client: str, round_: int) -> TacitError:
    problem = f"{type(error).__name__}: {error}"
    wrapped = TacitError("round.code-failed", client=client, round=round_, problem=problem)
    wrapped.__cause__ = error
    return wrapped
