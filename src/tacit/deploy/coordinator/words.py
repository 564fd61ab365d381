"""Journal lines in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tacit.base.catalogue import CATALOGUE
from tacit.deploy.coordinator.book import Book


def told(book: Book, kind: str, body: Mapping[str, Any]) -> str:
    """One sentence about one line; rounds count from 1, clients have names."""
    teller = _TELLERS.get(kind)
    return teller(book, body) if teller else kind


def named(book: Book, client: int) -> str:
    """The name of a place, whoever has it or is meant to."""
    if client in book.places:
        return book.places[client].name
    listed = book.row.clients
    return listed[client] if client < len(listed) else f"place {client + 1}"


def _round(body: Mapping[str, Any]) -> int:
    return int(body["round"]) + 1


def _names(book: Book, clients: list[int]) -> str:
    shown = ", ".join(named(book, client) for client in clients[:8])
    return f"{shown} and {len(clients) - 8} more" if len(clients) > 8 else shown


def _submitted(book: Book, body: Mapping[str, Any]) -> str:
    kind = "A rehearsal" if book.row.seed is not None else "The run"
    return f"{kind} was submitted by {body['by']}."


def _opened(book: Book, body: Mapping[str, Any]) -> str:
    cohort = list(body["cohort"])
    if not cohort:
        return f"Round {_round(body)}: nobody is free to be asked."
    return f"Round {_round(body)} began; asked: {_names(book, cohort)}."


def _answered(book: Book, body: Mapping[str, Any]) -> str:
    return f"{named(book, body['client'])} answered round {_round(body)}."


def _failed(book: Book, body: Mapping[str, Any]) -> str:
    if body["code"] == "round.absent":
        return f"{named(book, body['client'])} was not there in round {_round(body)}."
    return f"{named(book, body['client'])} is out of round {_round(body)} ({body['code']})."


def _kept(book: Book, body: Mapping[str, Any]) -> str:
    if not body["row"]:
        return "The run began with its first model."
    return f"A new model after round {body['round']}, of {body['row']['answers']:.0f} answers."


def _tried(book: Book, body: Mapping[str, Any]) -> str:
    name, code = named(book, body["client"]), body["code"]
    reasons = "; ".join(body["reasons"]) or body["error"] or _cause(code)
    if body["phase"] == "policy":
        return f"{name} refused round {_round(body)}: {reasons}"
    return f"{name} failed in round {_round(body)} ({body['phase']}, {code}): {reasons}"


def _cause(code: str) -> str:
    """A fixed code says what it says, without the facts that stayed at home."""
    return "see the owner's log" if code in CATALOGUE else "an unknown error"


def _refused(book: Book, body: Mapping[str, Any]) -> str:
    reasons = "; ".join(body["reasons"]) or "no reason given"
    return f"{body['name']} refused to take part: {reasons}"


def _aside(book: Book, body: Mapping[str, Any]) -> str:
    name = named(book, body["client"])
    return f"{name} failed or refused too many rounds in a row and is set aside until `resume`."


def _stopped(book: Book, body: Mapping[str, Any]) -> str:
    reason = str(body["reason"])
    who = reason.removeprefix("asked by ")
    return f"Stopped by {who}." if who != reason else f"The run ended: {reason}."


_TELLERS: dict[str, Callable[[Book, Mapping[str, Any]], str]] = {
    "submitted": _submitted,
    "start": lambda _book, _body: "The model's start was uploaded.",
    "joined": lambda _book, body: f"{body['name']} joined as client {body['index'] + 1}.",
    "refused": _refused,
    "left": lambda book, body: f"{named(book, body['index'])} left.",
    "opened": _opened,
    "answered": _answered,
    "failed": _failed,
    "deadline_passed": lambda _book, body: f"The time of round {_round(body)} is over.",
    "kept": _kept,
    "closed": lambda _book, body: f"Round {_round(body)} is closed.",
    "tried": _tried,
    "set_aside": _aside,
    "stopped": _stopped,
    "broken": lambda _book, body: f"The run cannot go on: {body['cause']}",
    "resumed": lambda _book, body: f"Resumed by {body['by']}.",
    "recovered": lambda _book, _body: "The coordinator was restarted and goes on.",
}
