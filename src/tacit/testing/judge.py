"""The rules of a run, held against its journal and the answers' bytes: nothing else is trusted.

Everything is computed again from the round machine, the closing and the turn alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np

from tacit.base.key import Key
from tacit.base.vector import Kind, Vector
from tacit.deploy.coordinator.book import rules
from tacit.deploy.wire.answers import encode_answer, read_answer
from tacit.deploy.wire.packs import pack_bytes, read_pack
from tacit.learn.algorithm import State
from tacit.learn.examples import Examples
from tacit.plan.cohort import Buffered
from tacit.round.close import add, apply, open_sum
from tacit.round.events import EVENTS, Answered, Closed, Include, Opened, event_from_plain
from tacit.round.machine import begin, step
from tacit.round.state import Phase, Run
from tacit.round.turn import Memories, take_turn
from tacit.testing.cases import Case

SEEDLESS = Key.seed(0)
"""In place of a key that nobody knows: in earnest the cases' starts and openings draw nothing."""


class Line(NamedTuple):
    """A line of a journal."""

    seq: int
    kind: str
    body: dict[str, Any]


@final
@dataclass
class Verdict:
    """What a journal says, and what is wrong with it.

    `included`: digests by (client, round); `memories`: the pack that each client must remember;
    `whole`: every round was closed with everybody who was drawn; `kept`: the blobs that stay.
    """

    problems: list[str] = field(default_factory=list)
    status: str = "waiting"
    included: dict[tuple[int, int], str] = field(default_factory=dict)
    memories: dict[int, bytes] = field(default_factory=dict)
    remembers: bool = False
    whole: bool = True
    kept: set[str] = field(default_factory=set)
    params: Vector = field(default_factory=lambda: np.empty(0))


@final
class _Fold:
    """Goes through a journal once."""

    def __init__(self, case: Case, answers: Mapping[tuple[int, int], bytes]) -> None:
        self.case, self.plan, self.answers = case, case.plan, answers
        self.key = SEEDLESS if case.seed is None else Key.seed(case.seed)
        self.run: Run = begin(rules(case.plan))[0]
        self.found = Verdict()
        self.state: State = {}
        self.offers: dict[int, bytes] = {}
        self.offer = b""
        self.closed = 0

    def wrong(self, problem: str) -> None:
        self.found.problems.append(problem)

    def take(self, line: Line) -> None:
        if line.kind == "kept":
            self._keeps(line.body)
        elif line.kind == "broken":
            self.wrong(f"the run broke: {line.body}")
        elif line.kind in EVENTS:
            self._happens(line)

    def _happens(self, line: Line) -> None:
        event, before = event_from_plain({"kind": line.kind, **line.body}), self.run
        if isinstance(event, Answered):
            self._answered(event)
        self.run, effects = step(before, event)
        if isinstance(event, Opened):
            self.offers.setdefault(event.round, self.offer)
        elif self.run == before and not effects:
            self.wrong(f"line {line.seq} changes nothing: {event}")
        for effect in effects:
            if isinstance(effect, Include):
                self._included(effect, before)
        if isinstance(event, Closed):
            self.closed += 1
            missing = set(before.cohort) != set(before.included)
            self.found.whole &= not missing and not before.busy
        self.found.status = {Phase.DONE: "finished", Phase.FAILED: "failed"}.get(
            self.run.phase, "running" if self.state else "waiting"
        )

    def _answered(self, event: Answered) -> None:
        content = self.answers.get((event.client, event.round), b"")
        if hashlib.sha256(content).hexdigest() != event.digest:
            self.wrong(f"client {event.client} never sent what counts in round {event.round}")

    def _included(self, effect: Include, before: Run) -> None:
        where = effect.client, effect.round
        if where in self.found.included:
            self.wrong(f"client {effect.client} counts twice in round {effect.round}")
        self.found.included[where] = before.answered[effect.client]

    def _keeps(self, body: Mapping[str, Any]) -> None:
        """The new state must be the sum of the answers that count, applied."""
        if body["round"] == 0:
            state = self.plan.algorithm.start(self.plan.start(self.key / "start"))
        else:
            state = self._summed()
        offer = pack_bytes(dict(self.plan.algorithm.offer(state)))
        if hashlib.sha256(offer).hexdigest() != body["offer"]:
            self.wrong(f"the model before round {body['round']} is not what the answers give")
        self.state, self.offer = state, offer
        self.found.kept = {body["state"], body["offer"]}
        self.found.params = np.array(self.state["params"])

    def _summed(self) -> State:
        run, law, rows = self.run, self.case.federation.cohort, []
        wire = self.plan.client_steps[-1].after
        for client in run.included:
            version = run.versions.get(client, run.round)
            row = np.array(read_answer(self.answers[client, version], wire.size))
            if isinstance(law, Buffered) and version != run.round:
                row = row.astype(np.float64)
                for block in wire.of(Kind.TRAINED):
                    row[wire.spans[block.name]] *= law.weight(run.round - version)
            rows.append(row)
        total, count = add(rows)
        opened = open_sum(self.plan, total, count, self.key / "round" / run.round / "open")
        return apply(self.plan, read_pack(pack_bytes(self.state)), opened)


def judged(
    case: Case,
    lines: Sequence[Line],
    answers: Mapping[tuple[int, int], bytes],
    held: Sequence[Examples],
) -> Verdict:
    """Go through a journal and compute everything again."""
    fold = _Fold(case, answers)
    if [line.seq for line in lines] != list(range(1, len(lines) + 1)):
        fold.wrong("the journal has gaps")
    for line in lines:
        fold.take(line)
    found = fold.found
    found.whole &= fold.closed == case.plan.team.rounds
    found.whole &= not isinstance(case.federation.cohort, Buffered)
    if fold.run.phase is Phase.FAILED and not _may_fail(fold.run):
        fold.wrong("the run failed, though enough clients answered")
    _remember(case, fold, held)
    return found


def _may_fail(run: Run) -> bool:
    return run.missed >= run.rules.patience or (run.round >= run.rules.rounds and not run.model)


def _remember(case: Case, fold: _Fold, held: Sequence[Examples]) -> None:
    """Take every turn of a rehearsal again, with the memory of the included rounds before it."""
    memories: dict[int, Memories] = {}
    for client, round_ in sorted(fold.answers, key=lambda one: one[::-1]):
        if round_ not in fold.offers:
            fold.wrong(f"client {client} answered round {round_}, which never was")
            continue
        key = fold.key / "round" / round_ / "client" / client
        offer, before = read_pack(fold.offers[round_]), memories.get(client, {})
        turn = take_turn(case.plan, held[client], offer, before, key, "", round_)
        fold.found.remembers |= bool(turn.pending)
        again = encode_answer(turn.answer, case.plan.client_steps[-1].after.bits)
        if case.seed is not None and again != fold.answers[client, round_]:
            fold.wrong(f"client {client} answered round {round_} with another memory")
        if (client, round_) in fold.found.included and turn.pending:
            memories[client] = turn.pending
    if case.seed is not None:
        fold.found.memories = {one: pack_bytes(held_) for one, held_ in memories.items()}
