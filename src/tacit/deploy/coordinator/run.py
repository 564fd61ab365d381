"""What follows from what happens: drafts of journal lines, worked out before they are written.

A draft steps the machine without touching the book; all of its lines go into one transaction, and
only then into the fold. So a crash leaves all of a decision or nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

from tacit.deploy.coordinator.book import MISSED, Book
from tacit.deploy.coordinator.settings import Settings
from tacit.deploy.wire.messages import Failure
from tacit.round.buffered import room, taken
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
    Opened,
    Stopped,
    event_to_plain,
)
from tacit.round.machine import step
from tacit.round.pending import pending
from tacit.round.state import Outcome, Phase, Run

Line = tuple[float, str, dict[str, Any]]


@final
@dataclass
class Draft:
    """Lines to journal at `now`; `outcomes` are the machine's steps for lines that are events.

    `small`: small blobs that the lines name, kept in the same transaction.
    """

    book: Book
    settings: Settings
    now: float
    revoked: Callable[[str], bool]
    lines: list[Line] = field(default_factory=list)
    outcomes: list[Outcome | None] = field(default_factory=list)
    machine: Run = field(init=False)
    events: int = field(init=False)
    gone: set[int] = field(default_factory=set)
    small: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machine, self.events = self.book.machine, self.book.events

    def note(self, kind: str, **body: Any) -> None:
        """A fact that is no event of the machine."""
        self.lines.append((self.now, kind, body))
        self.outcomes.append(None)

    def happen(self, event: Event) -> None:
        """An event, and all that follows from it at once: draws, absences, clients set aside."""
        waiting = deque([event])
        while waiting:
            event = waiting.popleft()
            effects = self._step(event)
            for effect in effects:
                waiting.extend(self._consequence(effect))
            if isinstance(event, Failed):
                self._strike(event)

    def draw(self) -> None:
        """Open the round that waits for its cohort."""
        self.happen(self._opened(Draw(self.machine.round)))

    def _step(self, event: Event) -> tuple[Effect, ...]:
        self.events += 1
        self.machine, effects = step(self.machine, event)
        body = event_to_plain(event)
        self.lines.append((self.now, body.pop("kind"), body))
        self.outcomes.append((self.machine, effects))
        return effects

    def _consequence(self, effect: Effect) -> tuple[Event, ...]:
        match effect:
            case Draw():
                return (self._opened(effect),)
            case Ask(round=round_, client=client) if self.absent(client):
                return (Failed(round_, client, "round.absent"),)
        return ()

    def absent(self, client: int) -> bool:
        """Nobody has the place, or whoever has it left, was revoked or set aside."""
        book = self.book
        if client not in book.places or client in book.left or client in book.aside | self.gone:
            return True
        return self.revoked(book.places[client].member)

    def _opened(self, effect: Draw) -> Opened:
        """The cohort by the plan's law: repeatable in a rehearsal, otherwise nobody's choice."""
        federation, key = self.book.plan.federation, self.book.key / "cohort" / effect.round
        if law := self.book.law:
            asked = room(self.machine), taken(self.machine)
            cohort = law.pick(federation.clients, *asked, key / self.events)
            return Opened(effect.round, cohort)
        wait = federation.deadline
        cohort = federation.cohort.draw(federation.clients, key)
        return Opened(effect.round, cohort, self.now + wait if wait else 0.0)

    def _strike(self, event: Failed) -> None:
        strikes = self.book.strikes.get(event.client, 0) + 1
        if event.code not in MISSED and strikes >= self.settings.strikes:
            self.gone.add(event.client)
            self.note("set_aside", client=event.client)


def failing(draft: Draft, client: int, round_: int, failure: Failure) -> None:
    """A turn that failed: it is tried again, unless its owner refused or it failed too often."""
    found = {
        "phase": failure.phase,
        "code": failure.code,
        "reasons": list(failure.reasons),
        "error": failure.error,
        "traceback": failure.traceback,
        "environment": failure.environment,
    }
    if failure.attempt:
        found["attempt"] = failure.attempt
    draft.note("tried", round=round_, client=client, **found)
    before, count = draft.book.tried.get(client, (round_, 0))
    count = count + 1 if before == round_ else 1
    if failure.phase == "policy" or count >= draft.settings.attempts:
        draft.happen(Failed(round_, client, failure.code))


def answering(draft: Draft, client: int, round_: int, digest: str) -> None:
    """An answer that is stored."""
    draft.happen(Answered(round_, client, digest))


def leaving(draft: Draft, client: int) -> None:
    """A client leaves: the round does not wait for it."""
    draft.note("left", index=client)
    draft.gone.add(client)
    missing(draft, client)


def missing(draft: Draft, client: int, code: str = "round.absent") -> None:
    """A client whose answer is not waited for any longer."""
    round_ = draft.book.waits_for(client)
    if round_ is not None:
        draft.happen(Failed(round_, client, code))


def closing(draft: Draft, effect: Close, kept: dict[str, Any], row: dict[str, float]) -> None:
    """A round is closed: the new state and offer, and the next round, in one transaction."""
    draft.note("kept", round=effect.round + 1, row=row, **kept)
    draft.happen(Closed(effect.round, kept["offer"]))


def stopping(draft: Draft, reason: str) -> None:
    """Somebody ends the run, or it cannot go on."""
    draft.happen(Stopped(reason))


def late(draft: Draft, silent: Callable[[int], bool]) -> None:
    """What the passing of time brings: deadlines, and members that fell silent."""
    book, run = draft.book, draft.machine
    wait = book.plan.federation.deadline
    if book.law:
        for client, _ in tuple(book.asks()):
            if wait and draft.now >= _due(book, book.asked[client].at + wait, draft):
                missing(draft, client, "round.lost")
            elif silent(client):
                missing(draft, client)
        return
    if run.phase is not Phase.COLLECTING:
        return
    if run.deadline and draft.now >= _due(book, run.deadline, draft):
        draft.happen(DeadlinePassed(run.round))
        return
    for client, round_ in tuple(book.asks()):
        if draft.machine.round == round_ and silent(client):
            missing(draft, client)


def due(book: Book) -> Effect | None:
    """Work that is neither the clients' nor time's: a draw or a closing."""
    wanted = (Draw, Close)
    return next((one for one in pending(book.machine) if isinstance(one, wanted)), None)


def deadline(book: Book, grace: float) -> float:
    """When the open round ends (0: when all have answered)."""
    run = book.machine
    return (
        max(run.deadline, book.recovered + grace)
        if run.deadline and book.recovered
        else (run.deadline)
    )


def _due(book: Book, moment: float, draft: Draft) -> float:
    """A deadline that passed, or nearly, while nobody was here to see answers come in."""
    return max(moment, book.recovered + draft.settings.grace) if book.recovered else moment
