"""Facts of a run, and what they ask for. Events are plain data and can be journalled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from tacit.base.plain import tagged, to_plain


@final
@dataclass(frozen=True)
class Opened:
    """A round began: these clients are asked, and it closes at `deadline` (0: never)."""

    kind: ClassVar[str] = "opened"

    round: int
    cohort: tuple[int, ...]
    deadline: float = 0.0


@final
@dataclass(frozen=True)
class Answered:
    """A client's answer is stored; `digest` names its bytes."""

    kind: ClassVar[str] = "answered"

    round: int
    client: int
    digest: str


@final
@dataclass(frozen=True)
class Failed:
    """A client could not answer; `code` is an error code of the catalogue."""

    kind: ClassVar[str] = "failed"

    round: int
    client: int
    code: str


@final
@dataclass(frozen=True)
class DeadlinePassed:
    """The round's time is over."""

    kind: ClassVar[str] = "deadline_passed"

    round: int


@final
@dataclass(frozen=True)
class Closed:
    """The round's answers are summed and applied; `model` is the new model's digest."""

    kind: ClassVar[str] = "closed"

    round: int
    model: str


@final
@dataclass(frozen=True)
class Stopped:
    """Somebody ended the run."""

    kind: ClassVar[str] = "stopped"

    reason: str


Event = Opened | Answered | Failed | DeadlinePassed | Closed | Stopped

EVENTS: dict[str, type[Any]] = {
    cls.kind: cls for cls in (Opened, Answered, Failed, DeadlinePassed, Closed, Stopped)
}


def event_to_plain(event: Event) -> dict[str, Any]:
    """An event as plain data for a journal."""
    plain: dict[str, Any] = to_plain(event)
    return plain


def event_from_plain(plain: Any) -> Event:
    """The event of a journal line; anything else is refused."""
    event: Event = tagged(EVENTS, plain, ())
    return event


@final
@dataclass(frozen=True)
class Draw:
    """Draw the cohort of a round and report `Opened`."""

    round: int


@final
@dataclass(frozen=True)
class Ask:
    """Offer the model to a client and expect `Answered` or `Failed`."""

    round: int
    client: int


@final
@dataclass(frozen=True)
class Close:
    """Sum the stored answers of `included`, in this order, apply the mean, report `Closed`."""

    round: int
    included: tuple[int, ...]


@final
@dataclass(frozen=True)
class Include:
    """Tell a client that its answer counted: it may commit its memory."""

    round: int
    client: int


@final
@dataclass(frozen=True)
class Discard:
    """Tell a client that its answer does not count, and why (a code of the catalogue)."""

    round: int
    client: int
    code: str


@final
@dataclass(frozen=True)
class Finish:
    """The run is over; `code` is empty, or says why it failed."""

    code: str = ""


Effect = Draw | Ask | Close | Include | Discard | Finish
