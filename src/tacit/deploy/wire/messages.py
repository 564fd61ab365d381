"""Every JSON body that crosses the network. What a message does not name is refused.

Sizes are limits against nonsense, not settings: a message beyond them is malformed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[\w][\w .@-]*\Z")]
"""Of members, runs and data sets: what is safe in a log, a path and a terminal."""

MemberId: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
RunId: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 in hex."""

_SHOWN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
"""Nothing that moves a cursor, colours a terminal, ends a line, or turns its direction."""

Text: TypeAlias = Annotated[str, Meta(max_length=2000, pattern=rf"^{_SHOWN}*\Z")]
Lines: TypeAlias = Annotated[str, Meta(max_length=10_000, pattern=rf"^({_SHOWN}|[\n\t])*\Z")]
Code: TypeAlias = Annotated[str, Meta(max_length=60, pattern=r"^[a-z-]+\.[a-z0-9-]+\Z")]
"""An error code of the catalogue."""

Whole: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Bytes64: TypeAlias = Annotated[str, Meta(max_length=120_000)]
"""Bytes in base64."""

Key64: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
"""An Ed25519 public key in base64."""

Signature64: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
"""An Ed25519 signature in base64."""


class Role(StrEnum):
    """What a member may do; see the table of routes."""

    OPERATOR = "operator"
    CLIENT = "client"
    RESEARCHER = "researcher"
    AUDITOR = "auditor"


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One body."""


class Hello(Message, frozen=True):
    """What anybody may know of a coordinator."""

    version: str
    now: float
    fingerprint: str


class Enrolment(Message, frozen=True):
    """A new member: signed by the key that it names."""

    code: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,100}\Z")]
    name: Name
    public_key: Key64


class Enrolled(Message, frozen=True):
    """The member that an invitation became."""

    id: MemberId
    name: Name
    role: Role
    now: float


class Invite(Message, frozen=True):
    """Ask for an invitation; `hours` until it expires."""

    role: Role
    name: Name | None = None
    hours: Annotated[float, Meta(gt=0, le=24 * 30)] = 48.0


class Invited(Message, frozen=True):
    """The single-use code, shown once: the coordinator keeps only its hash."""

    code: str
    role: Role
    name: Name | None
    expires: float


class MemberFact(Message, frozen=True):
    """A member as operators and auditors see it."""

    id: MemberId
    name: Name
    role: Role
    public_key: Key64
    enrolled: float
    revoked: float | None = None
    seen: float | None = None


class Members(Message, frozen=True):
    """All members."""

    members: tuple[MemberFact, ...]


class Vouch(Message, frozen=True):
    """A client's signature that a peer's key is the peer's."""

    by: MemberId
    signature: Signature64


class Peer(Message, frozen=True):
    """Another client, and who vouched for it."""

    id: MemberId
    name: Name
    public_key: Key64
    vouches: tuple[Vouch, ...] = ()


class Peers(Message, frozen=True):
    """All other clients."""

    peers: tuple[Peer, ...]


class Vouching(Message, frozen=True):
    """The signature of a vouch."""

    signature: Signature64


class Nothing(Message, frozen=True):
    """A body with nothing in it: done."""


class Joining(Message, frozen=True):
    """A client's decision about a run.

    "accept" carries the data set and the signed statement; "refuse" and "leave" carry reasons.
    """

    decision: Literal["accept", "refuse", "leave"]
    dataset: Name | None = None
    signature: Signature64 | None = None
    reasons: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()


class Joined(Message, frozen=True):
    """The place of a client in a run."""

    index: Whole


class Participant(Message, frozen=True):
    """A member of a run, with the statement that it signed when it joined."""

    index: Whole
    member: MemberId
    name: Name
    public_key: Key64
    dataset: Name
    signature: Signature64


class Open(Message, frozen=True):
    """An answer whose fate the client does not know yet."""

    run: RunId
    round: Whole
    digest: Digest


class Poll(Message, frozen=True):
    """Ask for work; waits up to `wait` seconds for some.

    `open`: answers of unknown fate. `decided`: runs that the client has considered already.
    """

    wait: Annotated[float, Meta(ge=0, le=60)] = 25.0
    open: Annotated[tuple[Open, ...], Meta(max_length=1000)] = ()
    decided: Annotated[tuple[RunId, ...], Meta(max_length=10_000)] = ()


class Consider(Message, frozen=True, tag="consider"):
    """A run that the client is asked to join. `seed` makes it a rehearsal.

    `signature` is the researcher's under `statements.submission_text`: without it, nobody asked.
    """

    run: RunId
    name: Name
    researcher: MemberId
    researcher_name: Name
    researcher_key: Key64
    federation: dict[str, Any]
    digest: Digest
    dataset: Name
    seed: int | None = None
    signature: str = ""


class Turn(Message, frozen=True, tag="turn"):
    """A round that waits for the client's answer. `offer_bytes` are there when they are few."""

    run: RunId
    round: Whole
    index: Whole
    offer: Digest
    offer_size: Whole
    cohort: tuple[Whole, ...]
    participants: tuple[Participant, ...]
    deadline: float = 0.0
    offer_bytes: Bytes64 | None = None


class Over(Message, frozen=True, tag="over"):
    """A run has ended."""

    run: RunId
    status: str


Task: TypeAlias = Consider | Turn | Over


class Fate(Message, frozen=True):
    """What became of an answer: `code` is empty when it was included."""

    run: RunId
    round: Whole
    included: bool
    code: str = ""


class Work(Message, frozen=True):
    """What a client is to do now."""

    now: float
    tasks: tuple[Task, ...] = ()
    fates: tuple[Fate, ...] = ()


class Offset(Message, frozen=True):
    """How many bytes of an upload are there; `done` once the answer is stored and counted."""

    offset: Whole
    done: bool = False


class Failure(Message, frozen=True):
    """A turn that could not be taken, or was refused.

    Where the plan promises DP only `phase` and a fixed `code` are sent. `attempt` is the sender's
    own number of the turn, so that a failure that is told twice counts once.
    """

    phase: Literal["policy", "data", "code", "resources", "storage", "answer"]
    code: Code
    reasons: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    error: Annotated[str, Meta(pattern=r"^\w{0,200}\Z")] = ""
    traceback: Lines = ""
    environment: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}\Z")] = ""
    attempt: Annotated[str, Meta(pattern=r"^([0-9a-f]{16,32})?\Z")] = ""


class Submission(Message, frozen=True):
    """A run to queue: `id` is the submitter's, so that submitting twice is submitting once.

    `clients`: names in the order of their places, or empty: whoever joins first. `seed` makes it a
    rehearsal, whose randomness everybody can repeat. `outline`: the model's layout where its task
    is user code, which a coordinator never loads; the model's start is then uploaded as well.
    `signature` is the submitter's under `statements.submission_text`: clients check it.
    """

    id: RunId
    name: Name
    federation: dict[str, Any]
    digest: Digest
    dataset: Name
    clients: Annotated[tuple[Name, ...], Meta(max_length=100_000)] = ()
    seed: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    outline: dict[str, Any] | None = None
    signature: Annotated[str, Meta(max_length=88)] = ""


class RunFact(Message, frozen=True):
    """A run in a list."""

    id: RunId
    name: Name
    digest: Digest
    status: str
    by: MemberId
    by_name: Name
    submitted: float
    dataset: Name
    rounds: Whole
    round: Whole
    clients: Whole
    joined: Whole
    rehearsal: bool
    why: str = ""
    seed: int | None = None


class Runs(Message, frozen=True):
    """Runs, newest first."""

    runs: tuple[RunFact, ...]


class ClientState(Message, frozen=True):
    """A place of a run: who has it and what it does."""

    index: Whole
    name: Name
    state: str
    seen: float | None = None


class RunDetail(Message, frozen=True):
    """A run with its clients, refusals and numbers by round."""

    run: RunFact
    clients: tuple[ClientState, ...]
    refusals: tuple[dict[str, Any], ...]
    history: tuple[dict[str, float], ...]
    description: dict[str, Any]


class EventFact(Message, frozen=True):
    """A line of a run's journal, in plain words and as data."""

    seq: Whole
    at: float
    kind: str
    text: str
    body: dict[str, Any]


class Events(Message, frozen=True):
    """Lines after the one asked for."""

    events: tuple[EventFact, ...]
    status: str


class Result(Message, frozen=True):
    """Where the model is: a pack by digest."""

    status: str
    model: Digest | None
    size: Whole
    round: Whole
    history: tuple[dict[str, float], ...]


class ErrorFact(Message, frozen=True):
    """Code, cause and remedy. `facts` are numbers that a program needs, such as the time."""

    code: str
    cause: str
    remedy: str
    facts: dict[str, Any] = {}


class Problem(Message, frozen=True):
    """The body of every refusal."""

    error: ErrorFact


def printable(text: str) -> str:
    """A text without what `Text` refuses: safe for a terminal and a log."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def encode(message: Message) -> bytes:
    """A message as JSON."""
    return msgspec.json.encode(message)
