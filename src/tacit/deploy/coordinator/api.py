"""All routes in one table: what serves, checks, documents and tests them reads it here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, final

from msgspec import Meta

from tacit.deploy.coordinator import (
    clients,
    downloads,
    people,
    probes,
    running,
    uploads,
)
from tacit.deploy.coordinator.call import Answer, Call
from tacit.deploy.wire.messages import (
    Digest,
    Enrolled,
    Enrolment,
    Events,
    Failure,
    Hello,
    Invite,
    Invited,
    Joined,
    Joining,
    MemberId,
    Members,
    Message,
    Nothing,
    Offset,
    Peers,
    Poll,
    Result,
    Role,
    RunDetail,
    RunFact,
    RunId,
    Runs,
    Submission,
    Vouching,
    Whole,
    Work,
)

Handler = Callable[[Call], Awaitable[Answer]]

SMALL = 1 << 12
JSON = 1 << 20
LONG = 8 << 20
STREAM = 1 << 62
"""Most bytes of a body: of a stranger's, a message, a submission, and what goes to disk."""

PUBLIC = None
OPERATOR, CLIENT = Role.OPERATOR, Role.CLIENT
RESEARCHER, AUDITOR = Role.RESEARCHER, Role.AUDITOR


class RunPath(Message, frozen=True):
    """A run."""

    run: RunId


class RoundPath(Message, frozen=True):
    """A round of a run, counted from 0."""

    run: RunId
    round: Whole


class MemberPath(Message, frozen=True):
    """A member."""

    id: MemberId


class BlobPath(Message, frozen=True):
    """A file."""

    digest: Digest


class Upload(Message, frozen=True):
    """Which bytes of which upload: `size` is the whole, `offset` where the body belongs."""

    digest: Digest
    size: Annotated[int, Meta(ge=1, le=2**53)]
    offset: Whole = 0


class After(Message, frozen=True):
    """Lines after number `after`; wait up to `wait` seconds for one."""

    after: Whole = 0
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0


class Before(Message, frozen=True):
    """Runs older than `before`."""

    before: RunId | None = None


@final
@dataclass(frozen=True)
class Route:
    """One method of one path.

    `roles`: who may (None: anybody); `takes`: the body's message (`bytes`: a stream); `gives`: the
    answer's message, or its content type; `own_key`: the body's own key signs the request.
    """

    method: str
    path: str
    roles: frozenset[Role] | None
    handler: Handler
    takes: type[Message] | type[bytes] | None
    gives: type[Message] | tuple[type[Message], ...] | str
    says: str
    at: type[Message] | None = None
    query: type[Message] | None = None
    limit: int = JSON
    own_key: bool = False

    @property
    def streamed(self) -> bool:
        """Whether the body goes to disk as it comes."""
        return self.takes is bytes


def _may(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


_RUN = "/v1/runs/{run}"
_ANSWER = _RUN + "/rounds/{round}/answer"
_START = _RUN + "/start"
_SEES = _may(RESEARCHER, OPERATOR, AUDITOR)
_RULES = _may(RESEARCHER, OPERATOR)
_TEXT = "text/plain"
_JSON = "application/json"
_BYTES = "application/octet-stream"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", PUBLIC, probes.health, None, _JSON, "The process answers."),
    Route("GET", "/ready", PUBLIC, probes.ready, None, _JSON, "Requests are taken."),
    Route("GET", "/metrics", PUBLIC, probes.metrics, None, _TEXT, "Totals for Prometheus."),
    Route("GET", "/openapi.json", PUBLIC, probes.openapi, None, _JSON, "This document."),
    Route("GET", "/v1/hello", PUBLIC, people.hello, None, Hello, "Version, time, fingerprint."),
    Route(
        "POST",
        "/v1/enrol",
        PUBLIC,
        people.enrol,
        Enrolment,
        Enrolled,
        "An invitation becomes a member; signed by the key that is enrolled.",
        limit=SMALL,
        own_key=True,
    ),
    Route(
        "POST",
        "/v1/invitations",
        _may(OPERATOR),
        people.invite,
        Invite,
        Invited,
        "A single-use invitation.",
    ),
    Route(
        "GET",
        "/v1/members",
        _may(OPERATOR, AUDITOR),
        people.listed,
        None,
        Members,
        "All members.",
    ),
    Route(
        "POST",
        "/v1/members/{id}/revoke",
        _may(OPERATOR),
        people.revoke,
        None,
        Nothing,
        "End a membership at once.",
        MemberPath,
    ),
    Route(
        "GET",
        "/v1/peers",
        _may(CLIENT),
        people.peers,
        None,
        Peers,
        "The other clients and their vouches.",
    ),
    Route(
        "POST",
        "/v1/peers/{id}/vouch",
        _may(CLIENT),
        people.vouch,
        Vouching,
        Nothing,
        "Sign that a peer's key is the peer's.",
        MemberPath,
    ),
    Route(
        "POST",
        "/v1/work",
        _may(CLIENT),
        clients.work,
        Poll,
        Work,
        "Wait for work; also the sign of life.",
    ),
    Route(
        "POST",
        _RUN + "/joining",
        _may(CLIENT),
        clients.joining,
        Joining,
        (Joined, Nothing),
        "Accept, refuse or leave a run.",
        RunPath,
    ),
    Route(
        "GET",
        "/v1/blobs/{digest}",
        _may(CLIENT, RESEARCHER, OPERATOR),
        downloads.blob,
        None,
        _BYTES,
        "An offer or a model, or a range of it.",
        BlobPath,
    ),
    Route(
        "GET",
        _ANSWER,
        _may(CLIENT),
        uploads.answer_offset,
        None,
        Offset,
        "How many bytes of an answer are here.",
        RoundPath,
        Upload,
    ),
    Route(
        "PUT",
        _ANSWER,
        _may(CLIENT),
        uploads.answer,
        bytes,
        Offset,
        "Bytes of an answer, from an offset on.",
        RoundPath,
        Upload,
        STREAM,
    ),
    Route(
        "POST",
        _RUN + "/rounds/{round}/failure",
        _may(CLIENT),
        clients.failure,
        Failure,
        Nothing,
        "A turn that failed or was refused.",
        RoundPath,
    ),
    Route(
        "POST",
        "/v1/runs",
        _may(RESEARCHER),
        running.submit,
        Submission,
        RunFact,
        "Queue a run.",
        limit=LONG,
    ),
    Route(
        "GET", "/v1/runs", _SEES, running.listed, None, Runs, "Runs, newest first.", None, Before
    ),
    Route("GET", _RUN, _SEES, running.show, None, RunDetail, "One run.", RunPath),
    Route(
        "GET",
        _START,
        _may(RESEARCHER),
        uploads.start_offset,
        None,
        Offset,
        "How many bytes of a start are here.",
        RunPath,
        Upload,
    ),
    Route(
        "PUT",
        _START,
        _may(RESEARCHER),
        uploads.start,
        bytes,
        Offset,
        "Bytes of the start of a model whose task is user code.",
        RunPath,
        Upload,
        STREAM,
    ),
    Route(
        "GET",
        _RUN + "/events",
        _SEES,
        running.events,
        None,
        Events,
        "The journal in plain words and as data.",
        RunPath,
        After,
    ),
    Route("POST", _RUN + "/stop", _RULES, running.stop, None, RunFact, "End a run.", RunPath),
    Route("POST", _RUN + "/resume", _RULES, running.resume, None, RunFact, "Go on.", RunPath),
    Route(
        "GET", _RUN + "/result", _SEES, running.result, None, Result, "The newest model.", RunPath
    ),
)
