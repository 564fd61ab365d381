"""The state of one run: the fold of its journal, and nothing else.

The same `absorb` serves a fact that has just been journalled and one that is read back after a
restart, so both leave the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

from tacit.base.key import Key
from tacit.deploy.store.runs import RunRow
from tacit.deploy.wire.messages import Participant
from tacit.plan.build import Plan
from tacit.plan.cohort import Buffered
from tacit.round.events import (
    EVENTS,
    Answered,
    Ask,
    Discard,
    Effect,
    Event,
    Failed,
    Finish,
    Include,
    Opened,
    Stopped,
    event_from_plain,
)
from tacit.round.machine import begin, step
from tacit.round.state import Outcome, Phase, Rules, Run

SILENCE = frozenset({"round.absent", "round.lost"})
"""What the coordinator says of clients that say nothing."""

MISSED = SILENCE | {"policy.not-now"}
"""Failures by silence, or by the owner's hours, are no strikes: who comes back takes part again."""

OVER = frozenset({"finished", "failed", "stopped"})


@final
@dataclass(frozen=True)
class Kept:
    """State and offer as digests of packs, and the offer's size in bytes."""

    state: str
    offer: str
    size: int


@final
@dataclass(frozen=True)
class Asked:
    """When a client was asked, and with the model of which round."""

    round: int
    at: float


@final
@dataclass
class Book:
    """One run, as its journal tells it; changed by `absorb` alone.

    `included` and `discarded` are the fates of answers by round and client; `included` keeps the
    beginning of the answer's digest, so that another answer is not taken for it. `before` is the
    machine as it was when the run ended, for a run that is resumed. `outdated` are blobs that it
    has no use for any more.
    """

    row: RunRow
    plan: Plan
    machine: Run
    status: str = "waiting"
    why: str = ""
    seq: int = 0
    events: int = 0
    start: str = ""
    outline: dict[str, Any] | None = None
    signature: str = ""
    kept: Kept | None = None
    recovered: float = 0.0
    opened: float = 0.0
    places: dict[int, Participant] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    refusals: dict[str, dict[str, Any]] = field(default_factory=dict)
    tried: dict[int, tuple[int, int]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)
    strikes: dict[int, int] = field(default_factory=dict)
    aside: set[int] = field(default_factory=set)
    asked: dict[int, Asked] = field(default_factory=dict)
    offers: dict[int, Kept] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    included: dict[int, dict[int, str]] = field(default_factory=dict)
    discarded: dict[int, dict[int, str]] = field(default_factory=dict)
    before: Run | None = None
    outdated: set[str] = field(default_factory=set)

    @property
    def key(self) -> Key:
        """Repeatable in a rehearsal; otherwise nobody can repeat it, not even the coordinator."""
        return Key.fresh() if self.row.seed is None else Key.seed(self.row.seed)

    @property
    def law(self) -> Buffered | None:
        """The law of buffered rounds, if they are."""
        law = self.plan.federation.cohort
        return law if isinstance(law, Buffered) else None

    @property
    def over(self) -> bool:
        """Ended, well or badly."""
        return self.status in OVER

    @property
    def offered(self) -> tuple[Kept, ...]:
        """The newest state and offer, and those that somebody still works with."""
        newest = (self.kept,) if self.kept else ()
        return tuple(dict.fromkeys((*newest, *self.offers.values())))

    @property
    def resumable(self) -> bool:
        """Stopped, or short of answers with rounds still to go."""
        if self.before is None or self.status == "finished":
            return False
        short = self.why.startswith("round.quorum")
        return self.status == "stopped" or (
            short and self.before.round + 1 < self.before.rules.rounds
        )

    @property
    def joined(self) -> int:
        """Clients that have a place and did not leave."""
        return len(self.places) - len(self.left)

    def asks(self) -> Iterator[tuple[int, int]]:
        """Clients whose answer is waited for, each with its round."""
        if self.over or self.machine.phase not in (Phase.COLLECTING, Phase.CLOSING):
            return
        for client in self.machine.cohort if not self.law else tuple(self.machine.busy):
            round_ = self.waits_for(client)
            if round_ is not None:
                yield client, round_

    def waits_for(self, client: int) -> int | None:
        """The round for which this client's answer is waited for."""
        run = self.machine
        if self.over:
            return None
        if self.law:
            return run.busy.get(client)
        waited = run.phase is Phase.COLLECTING and client not in run.answered
        waited = waited and client not in run.failed and client in self.asked
        return run.round if waited and self.asked[client].round == run.round else None

    def knows(self, client: int, attempt: str) -> bool:
        """Whether a client's failure was told before, and only the reply was lost."""
        return attempt != "" and self.failures.get(client) == attempt

    def fate(self, client: int, round_: int, digest: str) -> str | None:
        """What became of an answer: "" when included, a code, or None while it is open."""
        found = self.included.get(round_, {}).get(client)
        if found is not None:
            return "" if digest.startswith(found) else "round.answered-twice"
        told = self.discarded.get(round_, {}).get(client)
        if told is not None:
            return told
        if self.over:
            return "round.late"
        waits = self.machine.versions.get(client) == round_ or self.waits_for(client) == round_
        if waits or (not self.law and round_ == self.machine.round):
            return None
        return "round.late" if round_ <= self.machine.round else "round.foreign"

    def absorb(
        self, seq: int, at: float, kind: str, body: Mapping[str, Any], known: Outcome | None = None
    ) -> tuple[Effect, ...]:
        """Take one fact into the state; `known` spares a step that was taken already."""
        self.seq, offered = seq, self.offered
        effects: tuple[Effect, ...] = ()
        if kind in EVENTS:
            event = event_from_plain({"kind": kind, **body})
            effects = self._happened(at, event, known or step(self.machine, event))
        elif (fold := self._folds.get(kind)) is not None:
            fold(self, at, body)
        if self.offered != offered:
            self._drops({blob for one in offered for blob in (one.state, one.offer)})
        return effects

    def _drops(self, blobs: set[str]) -> None:
        """Some of these blobs are not used any more."""
        still = {blob for one in self.offered for blob in (one.state, one.offer)}
        self.outdated |= blobs - still

    def _submitted(self, _: float, body: Mapping[str, Any]) -> None:
        self.outline, self.signature = body["outline"], str(body["signature"])

    def _started(self, _: float, body: Mapping[str, Any]) -> None:
        self.start = str(body["digest"])

    def _refused(self, _: float, body: Mapping[str, Any]) -> None:
        self.refusals[body["member"]] = dict(body)
        self._decided(body["member"])

    def _gone(self, _: float, body: Mapping[str, Any]) -> None:
        self.left.add(body["index"])

    def _aside(self, _: float, body: Mapping[str, Any]) -> None:
        self.aside.add(body["client"])

    def _broken(self, _: float, body: Mapping[str, Any]) -> None:
        self.why = str(body["cause"])

    def _recovered(self, at: float, _: Mapping[str, Any]) -> None:
        self.recovered = at

    def _joined(self, _: float, body: Mapping[str, Any]) -> None:
        named = {name: body[name] for name in ("index", "member", "name", "public_key")}
        place = Participant(**named, dataset=body["dataset"], signature=body["signature"])
        self.places[place.index] = place
        self.index[place.member] = place.index
        self.left.discard(place.index)
        self.refusals.pop(place.member, None)
        self._decided(place.member)

    def _decided(self, member: str) -> None:
        self.decisions[member] = self.decisions.get(member, 0) + 1

    def _tried(self, _: float, body: Mapping[str, Any]) -> None:
        round_, count = self.tried.get(body["client"], (body["round"], 0))
        count = count + 1 if round_ == body["round"] else 1
        self.tried[body["client"]] = (body["round"], count)
        self.failures[body["client"]] = body.get("attempt", "")

    def _keeps(self, _: float, body: Mapping[str, Any]) -> None:
        self.kept = Kept(body["state"], body["offer"], body["size"])
        self.status = "running"
        if body["row"]:
            self.history.append(dict(body["row"]))

    def _resumed(self, at: float, _: Mapping[str, Any]) -> None:
        """A stopped run goes on where it was; one that ran out of answers, with its next round."""
        self.aside.clear()
        self.strikes.clear()
        if self.before is None:
            return
        run, self.before = replace(self.before, missed=0), None
        if self.why.startswith("round.quorum"):
            skipped = replace(run, phase=Phase.DRAWING, round=run.round + 1, cohort=(), busy={})
            fresh = begin(run.rules)[0]
            run = replace(skipped, answered=fresh.answered, failed=fresh.failed, versions={})
        self.machine, self.why, self.recovered = run, "", at
        self.status = "running" if self.kept else "waiting"

    def _happened(self, at: float, event: Event, outcome: Outcome) -> tuple[Effect, ...]:
        before, (self.machine, effects) = self.machine, outcome
        self.events += 1
        match event:
            case Opened(round=round_) if self.kept and round_ == before.round:
                self.offers[round_] = self.kept
                self.opened = at
            case Answered(client=client):
                self.strikes.pop(client, None)
            case Failed(client=client, code=code) if code not in MISSED:
                self.strikes[client] = self.strikes.get(client, 0) + 1
        for effect in effects:
            self._told(at, effect, before)
        if self.machine.over and not before.over:
            self._ended(event, before)
        self._forget(before)
        return effects

    def _told(self, at: float, effect: Effect, before: Run) -> None:
        match effect:
            case Ask(round=round_, client=client):
                self.asked[client] = Asked(round_, at)
            case Include(round=round_, client=client):
                self.included.setdefault(round_, {})[client] = before.answered[client][:16]
            case Discard(round=round_, client=client, code=code):
                self.discarded.setdefault(round_, {}).setdefault(client, code)
            case Finish(code=code):
                self.why = self.why or code

    def _ended(self, event: Event, before: Run) -> None:
        self.before = before
        if isinstance(event, Stopped):
            self.status = "stopped" if event.reason.startswith("asked") else "failed"
            self.why = self.why if self.status == "failed" else event.reason
        else:
            self.status = "finished" if self.machine.phase is Phase.DONE else "failed"

    def _forget(self, before: Run) -> None:
        """Offers that nobody works with any more, and answers that are added or given up."""
        if len(self.machine.answered) < len(before.answered):
            self.outdated |= {*before.answered.values()} - {*self.machine.answered.values()}
        if self.over and not self.resumable:
            self.outdated |= {self.start, *self.machine.answered.values()}
        used = {self.machine.round, *self.machine.busy.values(), *self.machine.versions.values()}
        used = set() if self.over and not self.resumable else used
        self.offers = {round_: held for round_, held in self.offers.items() if round_ in used}

    _folds: ClassVar[dict[str, Callable[[Book, float, Mapping[str, Any]], None]]] = {
        "submitted": _submitted,
        "start": _started,
        "joined": _joined,
        "refused": _refused,
        "left": _gone,
        "tried": _tried,
        "kept": _keeps,
        "set_aside": _aside,
        "broken": _broken,
        "recovered": _recovered,
        "resumed": _resumed,
    }


def opened_book(row: RunRow, plan: Plan) -> Book:
    """A run before its first fact."""
    machine, _ = begin(rules(plan))
    return Book(row, plan, machine)


def rules(plan: Plan) -> Rules:
    """A Poisson cohort is waited for as a whole: cutting it short would break its law."""
    federation, team = plan.federation, plan.team
    whole = federation.cohort.kind == "poisson"
    target = team.clients if whole else team.cohort
    law = federation.cohort
    working = law.concurrency if isinstance(law, Buffered) else 0
    return Rules(team.rounds, target, team.quorum, federation.patience, working)
