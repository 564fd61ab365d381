"""Errors as HTTP: one place turns a code into a status, and a `TacitError` into a body."""

from __future__ import annotations

from tacit.base.errors import TacitError
from tacit.base.plain import to_plain
from tacit.deploy.wire.messages import ErrorFact, Problem

OTHERS = 422
"""Of all codes that are not named here: understood, and refused for what it means."""

STATUS: dict[str, int] = {
    "request.malformed": 400,
    "deploy.not-json": 400,
    "deploy.cut": 400,
    "deploy.slow": 408,
    "deploy.encoding": 415,
    "store.upload-name": 400,
    "request.unsigned": 401,
    "request.signature": 401,
    "request.digest": 401,
    "request.clock": 401,
    "request.stale": 401,
    "request.replayed": 401,
    "member.unknown": 401,
    "member.revoked": 401,
    "member.key": 401,
    "member.role": 403,
    "member.name": 403,
    "member.name-odd": 409,
    "invitation.unknown": 403,
    "invitation.used": 403,
    "invitation.expired": 403,
    "deploy.not-joined": 403,
    "deploy.no-route": 404,
    "deploy.no-run": 404,
    "deploy.no-blob": 404,
    "deploy.no-result": 404,
    "member.none": 404,
    "store.blob-missing": 404,
    "deploy.no-method": 405,
    "deploy.run-differs": 409,
    "deploy.no-start": 409,
    "deploy.decisions": 409,
    "deploy.full": 409,
    "deploy.over": 409,
    "member.self": 409,
    "round.answered-twice": 409,
    "round.not-asked": 409,
    "store.conflict": 409,
    "store.enrolled": 409,
    "store.name-taken": 409,
    "store.offset": 409,
    "deploy.too-large": 413,
    "deploy.answer-size": 413,
    "store.too-large": 413,
    "deploy.range": 416,
    "deploy.enrolments": 429,
    "deploy.queue": 429,
    "deploy.internal": 500,
    "deploy.draining": 503,
    "deploy.elsewhere": 503,
    "store.busy": 503,
    "store.unreachable": 503,
    "store.cannot-open": 503,
    "store.corrupt": 503,
    "store.disk": 503,
    "store.blobs-unreachable": 503,
    "store.blob-damaged": 503,
    "store.full": 507,
}

RETRY = {503: "2", 429: "60", 507: "30"}
"""Seconds after which to repeat."""

_HIDDEN = {
    "place": "of the coordinator",
    "path": "of the coordinator",
    "name": "in hand",
    "why": "the operator's log says more",
}


def status(error: TacitError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(error.code, OTHERS)


def problem(error: TacitError) -> Problem:
    """The body of a refusal, without anything about the coordinator's own machine."""
    if error.code.startswith("store."):
        hidden = {name: text for name, text in _HIDDEN.items() if name in error.facts}
        error = error.named(**hidden)
    facts = {
        name: to_plain(held)
        for name, held in error.facts.items()
        if isinstance(held, str | int | float) and name not in _HIDDEN
    }
    return Problem(ErrorFact(error.code, error.cause, error.remedy, facts))
